/* The pixel map, its bounds, and shares of single drops, in double precision, for the drizzle kernel; included by
 * _kernel.c.
 */

/* Find the interval of increasing knots that holds a position, and how far along it is (0 to 1). */
static ptrdiff_t find_knot(const double *knots, ptrdiff_t n, double position, double *fraction)
{
    ptrdiff_t low = 0, high = n - 1;
    while (high - low > 1) {
        const ptrdiff_t middle = (low + high) / 2;
        if (knots[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    const double along = (position - knots[low]) / (knots[low + 1] - knots[low]);
    *fraction = MIN(MAX(along, 0.0), 1.0);
    return low;
}

/* Start a side of a block divided into lanes: positions offset from the columns of the places, and the same from
 * column `last_position` of the block on. */
static void start_side(const PixelMap *map, const Workspace *workspace, Side *side, int lanes,
                       ptrdiff_t last_position, double offset)
{
    side->lanes = lanes;
    side->knot_row = -1;
    for (ptrdiff_t k = 0; k < BLOCK + lanes; k++) {
        const ptrdiff_t of_block = k % lanes * (BLOCK / lanes) + k / lanes;
        const ptrdiff_t column = workspace->first_column + MIN(of_block, last_position);
        side->distance[k] = (double)(column - workspace->middle_column[k % lanes]) + offset;
        if (map->n_x_knots > 0)
            side->knot[k] = find_knot(map->x_knots, map->n_x_knots, (double)column + offset, &side->knot_fraction[k]);
    }
}

/* Interpolate the residual along knot rows j and the next, a fraction of the way from knot column i to the next. */
INLINE void residual_rows(const PixelMap *map, int axis, ptrdiff_t i, ptrdiff_t j, double fraction, double *below,
                          double *above)
{
    const double *low = map->residual + (axis * map->n_y_knots + j) * map->n_x_knots + i;
    const double *high = low + map->n_x_knots;
    *below = low[0] + fraction * (low[1] - low[0]);
    *above = high[0] + fraction * (high[1] - high[0]);
}

/* Interpolate the residual at the side's positions at knot rows `knot_row` and the next. */
static void interpolate_side(const PixelMap *map, Side *side, ptrdiff_t knot_row, double units)
{
    for (ptrdiff_t k = 0; k < BLOCK + side->lanes; k++) {
        for (int axis = 0; axis < 2; axis++) {
            double below, above;
            residual_rows(map, axis, side->knot[k], knot_row, side->knot_fraction[k], &below, &above);
            side->residual[axis][k] = (float)(below * units);
            side->residual_step[axis][k] = (float)((above - below) * units);
        }
    }
    side->knot_row = knot_row;
}

/* Give the Taylor coefficients of the map's polynomial about chip row y, [axis][power of y][power of x], for a
 * number of powers of y; x as in the polynomial, y in chip pixels. */
static void expand_row(const PixelMap *map, double y, int n_powers, double *coefficients)
{
    const double t = (y - map->centre[1]) / map->half_size[1];
    const ptrdiff_t n = map->terms;
    for (int axis = 0; axis < 2; axis++) {
        for (ptrdiff_t i = 0; i < n; i++) {
            double terms[MOST_TERMS], scale = 1.0;
            for (int j = 0; j < n_powers; j++)
                terms[j] = 0.0;
            /* Horner's scheme, for the Taylor coefficients too. */
            for (ptrdiff_t power = n - 1; power >= 0; power--) {
                for (int j = n_powers - 1; j > 0; j--)
                    terms[j] = terms[j] * t + terms[j - 1];
                terms[0] = terms[0] * t + map->coefficients[(axis * n + power) * n + i];
            }
            for (int j = 0; j < n_powers; j++) {
                coefficients[(axis * n_powers + j) * n + i] = terms[j] * scale;
                scale /= map->half_size[1];
            }
        }
    }
}

/* Give the output position, without the residual, of a position on the chip row whose coefficients are given, of
 * expand_row for one power of y. */
static void position_on_row(const PixelMap *map, const double *coefficients, double x, double out[2])
{
    const double s = (x - map->centre[0]) / map->half_size[0];
    for (int axis = 0; axis < 2; axis++) {
        out[axis] = 0.0;
        for (ptrdiff_t i = map->terms - 1; i >= 0; i--)
            out[axis] = out[axis] * s + coefficients[axis * map->terms + i];
    }
}

/* Give the output position of a position on the chip, without the residual. */
static void map_position(const PixelMap *map, double x, double y, double out[2])
{
    double coefficients[2 * (LARGEST_DEGREE + 1)];
    expand_row(map, y, 1, coefficients);
    position_on_row(map, coefficients, x, out);
}

/* Give the output position of a position on the chip. */
static void exact_position(const PixelMap *map, double x, double y, double out[2])
{
    map_position(map, x, y, out);
    if (map->n_x_knots == 0)
        return;
    double along_x, along_y;
    const ptrdiff_t i = find_knot(map->x_knots, map->n_x_knots, x, &along_x);
    const ptrdiff_t j = find_knot(map->y_knots, map->n_y_knots, y, &along_y);
    for (int axis = 0; axis < 2; axis++) {
        double below, above;
        residual_rows(map, axis, i, j, along_x, &below, &above);
        out[axis] += below + along_y * (above - below);
    }
}

/* Give the output positions of the corners of a pixel's drop, [axis][corner]. */
static void drop_corners(const PixelMap *map, const Drop *drop, double x, double y, double corners[2][4])
{
    const double half = drop->half_width;
    for (int corner = 0; corner < 4; corner++) {
        const double dx = corner == 1 || corner == 2 ? half : -half, dy = corner >= 2 ? half : -half;
        const int square = drop->shape == KERNEL_SQUARE;
        double position[2];
        exact_position(map, square ? x + dx : x, square ? y + dy : y, position);
        corners[0][corner] = position[0] + (square ? 0.0 : dx);
        corners[1][corner] = position[1] + (square ? 0.0 : dy);
    }
}

/* Largest absolute value on the chip of a derivative of the map's polynomial, divided by the factorials of its
 * orders, bounded by the sum of its terms; `largest` are the largest arguments. */
static double polynomial_bound(const PixelMap *map, int axis, ptrdiff_t x_order, ptrdiff_t y_order,
                               const double largest[2])
{
    const ptrdiff_t n = map->terms;
    double bound = 0.0, y_binomial = 1.0;
    for (ptrdiff_t j = y_order; j < n; j++) {
        double x_binomial = 1.0;
        for (ptrdiff_t i = x_order; i < n; i++) {
            const double size = fabs(map->coefficients[(axis * n + j) * n + i]);
            bound += size * x_binomial * y_binomial * pow(largest[0], (double)(i - x_order))
                     * pow(largest[1], (double)(j - y_order));
            x_binomial *= (double)(i + 1) / (double)(i + 1 - x_order);
        }
        y_binomial *= (double)(j + 1) / (double)(j + 1 - y_order);
    }
    return bound * pow(map->half_size[0], -(double)x_order) * pow(map->half_size[1], -(double)y_order);
}

/* Find the largest arguments of the map's polynomial on a chip. */
static void largest_arguments(const PixelMap *map, const Chip *chip, double largest[2])
{
    const double size[2] = {(double)chip->columns, (double)chip->rows};
    for (int axis = 0; axis < 2; axis++) {
        const double low = (-0.5 - map->centre[axis]) / map->half_size[axis];
        const double high = (size[axis] - 0.5 - map->centre[axis]) / map->half_size[axis];
        largest[axis] = MAX(fabs(low), fabs(high));
    }
}

/* Bound the distance, along each axis, of a polynomial from bilinear interpolation between the corners of parts
 * of a chip. */
static double bend_bound(const PixelMap *map, const double largest[2], double rows, double columns)
{
    double bend = 0.0;
    for (int axis = 0; axis < 2; axis++) {
        const double along_x = polynomial_bound(map, axis, 2, 0, largest) * columns * columns / 4.0;
        const double along_y = polynomial_bound(map, axis, 0, 2, largest) * rows * rows / 4.0;
        bend = MAX(bend, along_x + along_y);
    }
    return bend;
}

/* Numbers that are compared at once, to find the largest. */
#define AT_ONCE 8

/* Widen bounds by a row of the residual: of its values, of their slopes along the row, given the inverse distances
 * of the knots, and of their differences from the row below. */
static void bound_row(const double *row, const double *below, const double *inverse, ptrdiff_t n, double bounds[3])
{
    double values[AT_ONCE] = {0.0}, slopes[AT_ONCE] = {0.0}, differences[AT_ONCE] = {0.0};
    for (ptrdiff_t first = 0; first < n; first += AT_ONCE) {
        /* The last numbers may be taken twice. */
        const ptrdiff_t i = MAX(MIN(first, n - AT_ONCE), 1), last = MIN(i + AT_ONCE, n) - i;
        for (ptrdiff_t k = 0; k < last; k++) {
            values[k] = MAX(values[k], fabs(row[i + k]));
            slopes[k] = MAX(slopes[k], fabs(row[i + k] - row[i + k - 1]) * inverse[i + k]);
            differences[k] = MAX(differences[k], fabs(row[i + k] - below[i + k]));
        }
    }
    values[0] = MAX(values[0], fabs(row[0]));
    differences[0] = MAX(differences[0], fabs(row[0] - below[0]));
    for (int k = 0; k < AT_ONCE; k++) {
        bounds[0] = MAX(bounds[0], values[k]);
        bounds[1] = MAX(bounds[1], slopes[k]);
        bounds[2] = MAX(bounds[2], differences[k]);
    }
}

/* Bound the map's residual and its slopes; 0 if memory runs out. */
static int bound_residual(const PixelMap *map, Bounds *bounds)
{
    const ptrdiff_t n_x = map->n_x_knots, n_y = map->n_y_knots;
    double *inverse = malloc((size_t)MAX(n_x, 1) * sizeof *inverse);
    if (inverse == NULL)
        return 0;
    for (ptrdiff_t i = 1; i < n_x; i++)
        inverse[i] = 1.0 / MAX(map->x_knots[i] - map->x_knots[i - 1], SMALLEST_GAP);
    for (int axis = 0; axis < 2; axis++) {
        double *slope = bounds->residual_slope[axis];
        for (ptrdiff_t j = 0; j < n_y; j++) {
            const double *row = map->residual + (axis * n_y + j) * n_x;
            double of_row[3] = {bounds->residual, slope[0], 0.0};
            bound_row(row, j > 0 ? row - n_x : row, inverse, n_x, of_row);
            bounds->residual = of_row[0];
            slope[0] = of_row[1];
            if (j > 0)
                slope[1] = MAX(slope[1], of_row[2] / MAX(map->y_knots[j] - map->y_knots[j - 1], SMALLEST_GAP));
        }
    }
    free(inverse);
    return 1;
}

/* Bound the map on a chip; 0 if memory runs out. */
static int find_bounds(const PixelMap *map, const Chip *chip, Bounds *bounds)
{
    *bounds = (Bounds){.value = 0.0};
    if (!bound_residual(map, bounds))
        return 0;
    largest_arguments(map, chip, bounds->argument);
    bounds->patch_bend = bend_bound(map, bounds->argument, PATCH_ROWS, BLOCK) + bounds->residual;
    bounds->part_bend = bend_bound(map, bounds->argument, TOUCHED_ROWS, TOUCHED_COLUMNS) + bounds->residual;
    for (int axis = 0; axis < 2; axis++)
        bounds->value = MAX(bounds->value, polynomial_bound(map, axis, 0, 0, bounds->argument));
    bounds->value += bounds->residual;
    return 1;
}

/* ------------------------------------------------------------------ shares */

/* Integral of min(max(y, bottom), bottom + 1) - bottom along an edge, for the part with 0 <= x - left <= 1. */
static double edge_integral(double x0, double y0, double x1, double y1, double left, double bottom)
{
    double sign = 1.0;
    if (x0 > x1) {
        const double x = x0, y = y0;
        x0 = x1, y0 = y1, x1 = x, y1 = y;
        sign = -1.0;
    }
    const double from = MAX(x0, left), to = MIN(x1, left + 1.0);
    if (from >= to)
        return 0.0;
    const double slope = (y1 - y0) / (x1 - x0);
    const double y_from = y0 + slope * (from - x0) - bottom, y_to = y0 + slope * (to - x0) - bottom;
    const double low = MIN(y_from, y_to), high = MAX(y_from, y_to);
    const double climb = high - low;
    if (high <= 0.0)
        return 0.0;
    if (low >= 1.0)
        return sign * (to - from);
    /* Heights 0 to 1 are crossed in the part of the width that `inner` is of the climb. */
    const double inner_low = MAX(low, 0.0), inner_high = MIN(high, 1.0);
    if (climb <= 0.0)
        return sign * (to - from) * inner_low;
    const double inside = 0.5 * (inner_low + inner_high) * (inner_high - inner_low);
    const double above = high - inner_high;
    return sign * (to - from) * (inside + above) / climb;
}

/* Share of a quadrilateral (corners relative to corner 0) in the pixel whose lower borders are given. */
static double share_of_pixel(const double x[4], const double y[4], double left, double bottom)
{
    double area = 0.0, total = 0.0, size = 0.0;
    for (int e = 0; e < 4; e++) {
        for (int other = 0; other < e; other++)
            size = MAX(size, fabs(x[e] - x[other]) * fabs(y[e] - y[other]));
        const int next = (e + 1) % 4;
        area += edge_integral(x[e], y[e], x[next], y[next], left, bottom);
        total += 0.5 * (x[next] - x[e]) * (y[next] + y[e]);
    }
    /* A drop without area, but for rounding noise, has no shares. */
    return fabs(total) > 1e-10 * size ? MIN(MAX(area / total, 0.0), 1.0) : 0.0;
}
