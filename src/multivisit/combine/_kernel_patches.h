/* What is found out about a chip before it is added to a window, for the drizzle kernel; included by _kernel.c:
 * where its patches lie, what they touch, and how fine the arithmetic has to be.
 */

static void *allocate(size_t size)
{
    void *memory = NULL;
    return posix_memalign(&memory, 64, size > 0 ? size : 64) == 0 ? memory : NULL;
}

/* Number of blocks in a row of the chip. */
static ptrdiff_t block_count(const Chip *chip)
{
    return (chip->columns + BLOCK - 1) / BLOCK;
}

/* Number of rows of patches on the chip. */
static ptrdiff_t patch_row_count(const Chip *chip)
{
    return (chip->rows + PATCH_ROWS - 1) / PATCH_ROWS;
}

/* Chip row in the middle of a row of patches. */
static ptrdiff_t middle_of_patch(const Chip *chip, ptrdiff_t patch_row)
{
    return MIN(patch_row * PATCH_ROWS + PATCH_ROWS / 2, chip->rows - 1);
}

/* Number of coefficients that stand for the map about the middle of a row of patches. */
static size_t terms_per_row(const Job *job)
{
    return (size_t)(2 * job->local_terms * job->map->terms);
}

/* Tell where the drops of a patch lie, whose corners are given, up to a margin. */
static Place place_patch(const Window *window, const double a[2], const double b[2], const double c[2],
                         const double d[2], double margin)
{
    const double first[2] = {(double)window->first_column, (double)window->first_row};
    const double size[2] = {(double)window->columns, (double)window->rows};
    int inside = 1;
    for (int axis = 0; axis < 2; axis++) {
        const double low = MIN(MIN(a[axis], b[axis]), MIN(c[axis], d[axis])) - first[axis] - margin;
        const double high = MAX(MAX(a[axis], b[axis]), MAX(c[axis], d[axis])) - first[axis] + margin;
        /* Boxes may end farther right than their drops, and rounding noise comes there. */
        if (high + (axis == 0 ? LARGEST_BOX : 0) < -0.5 || low > size[axis] - 0.5)
            return PLACE_OUTSIDE;
        inside &= low >= 0.0 && high + LARGEST_BOX <= size[axis] - 1.0;
        /* Distances within a patch are counted in 32 bits. */
        inside &= axis == 0 || (high - low + LARGEST_BOX) * size[0] < LARGEST_POSITION;
    }
    return inside ? PLACE_INSIDE : PLACE_CROSSING;
}

/* Tell where the patches of the chip lie; gives the number of those that can reach the window, -1 if memory runs
 * out. */
static ptrdiff_t place_patches(const PixelMap *map, const Chip *chip, const Window *window, double margin,
                               unsigned char *patches)
{
    const ptrdiff_t n_x = block_count(chip), n_y = patch_row_count(chip);
    /* Corners below and above a row of patches, in turn. */
    double(*corners)[2] = allocate((size_t)(2 * (n_x + 1)) * sizeof *corners);
    if (corners == NULL)
        return -1;
    ptrdiff_t n_reaching = 0;
    for (ptrdiff_t j = 0; j <= n_y; j++) {
        double coefficients[2 * (LARGEST_DEGREE + 1)];
        double(*upper)[2] = corners + j % 2 * (n_x + 1), (*lower)[2] = corners + (1 - j % 2) * (n_x + 1);
        expand_row(map, (double)MIN(j * PATCH_ROWS, chip->rows) - 0.5, 1, coefficients);
        for (ptrdiff_t i = 0; i <= n_x; i++)
            position_on_row(map, coefficients, (double)MIN(i * BLOCK, chip->columns) - 0.5, upper[i]);
        for (ptrdiff_t i = 0; j > 0 && i < n_x; i++) {
            const Place place = place_patch(window, lower[i], lower[i + 1], upper[i], upper[i + 1], margin);
            patches[(j - 1) * n_x + i] = (unsigned char)place;
            n_reaching += place != PLACE_OUTSIDE;
        }
    }
    free(corners);
    return n_reaching;
}

/* Widen a range of x by that of a line's part where y is between two values. */
static void widen_range(const double from[2], const double to[2], double low, double high, double range[2])
{
    const double climb = to[1] - from[1];
    if (MIN(from[1], to[1]) > high || MAX(from[1], to[1]) < low)
        return;
    double begin = 0.0, end = 1.0;
    if (fabs(climb) > 1e-3) {
        const double at_low = (low - from[1]) / climb, at_high = (high - from[1]) / climb;
        begin = MIN(MAX(MIN(at_low, at_high), 0.0), 1.0);
        end = MIN(MAX(MAX(at_low, at_high), 0.0), 1.0);
    }
    const double x0 = from[0] + begin * (to[0] - from[0]), x1 = from[0] + end * (to[0] - from[0]);
    range[0] = MIN(range[0], MIN(x0, x1));
    range[1] = MAX(range[1], MAX(x0, x1));
}

/* Remember the output pixels of a window that lie between the corners of a part of a chip, up to a margin. */
static void touch_part(const Window *window, const double corners[4][2], double margin)
{
    double low = corners[0][1], high = low;
    for (int corner = 1; corner < 4; corner++) {
        low = MIN(low, corners[corner][1]);
        high = MAX(high, corners[corner][1]);
    }
    const double x_origin = (double)window->first_column - 0.5, y_origin = (double)window->first_row - 0.5;
    const ptrdiff_t first = (ptrdiff_t)MAX(floor(low - margin - y_origin), 0.0);
    const ptrdiff_t last = (ptrdiff_t)MIN(floor(high + margin - y_origin), (double)window->rows - 1.0);
    for (ptrdiff_t row = first; row <= last; row++) {
        const double bottom = (double)row + y_origin - margin, top = (double)row + y_origin + 1.0 + margin;
        double range[2] = {LARGEST_POSITION, -LARGEST_POSITION};
        for (int one = 0; one < 4; one++) {
            for (int other = one + 1; other < 4; other++)
                widen_range(corners[one], corners[other], bottom, top, range);
        }
        /* Boxes may end farther right than their drops, and rounding noise comes there. */
        const double left = floor(range[0] - margin - x_origin);
        const double right = floor(range[1] + margin - x_origin) + 1.0 + LARGEST_BOX;
        if (right <= 0.0 || left >= (double)window->columns)
            continue;
        int32_t *columns = window->touched + 2 * row;
        columns[0] = MIN(columns[0], (int32_t)MAX(left, 0.0));
        columns[1] = MAX(columns[1], (int32_t)MIN(right, (double)window->columns));
    }
}

/* Give the output positions of the corners of one of the parts of a chip by which it is told what is touched. */
static void part_corners(const PixelMap *map, const Chip *chip, ptrdiff_t first_row, ptrdiff_t first_column,
                         double corners[4][2])
{
    for (int corner = 0; corner < 4; corner++) {
        const ptrdiff_t row = MIN(first_row + corner / 2 * TOUCHED_ROWS, chip->rows);
        const ptrdiff_t column = MIN(first_column + corner % 2 * TOUCHED_COLUMNS, chip->columns);
        map_position(map, (double)column - 0.5, (double)row - 0.5, corners[corner]);
    }
}

/* Remember the output pixels that a chip may touch, up to a margin. */
static void touch_chip(const PixelMap *map, const Chip *chip, const Window *window, double margin)
{
    for (ptrdiff_t row = 0; row < chip->rows; row += TOUCHED_ROWS) {
        for (ptrdiff_t column = 0; column < chip->columns; column += TOUCHED_COLUMNS) {
            double corners[4][2];
            part_corners(map, chip, row, column, corners);
            if (place_patch(window, corners[0], corners[1], corners[2], corners[3], margin) != PLACE_OUTSIDE)
                touch_part(window, corners, margin);
        }
    }
}

/* Whether any of a row of patches can reach the window. */
static int any_reaches(const Job *job, ptrdiff_t patch_row)
{
    const ptrdiff_t n = block_count(job->chip);
    int any = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        any |= job->patches[patch_row * n + i] != PLACE_OUTSIDE;
    return any;
}

/* Find the places of the edges and centres of a row of patches among the rows of knots. */
static void find_row_places(const Job *job, ptrdiff_t patch_row)
{
    const PixelMap *map = job->map;
    const ptrdiff_t first = patch_row * PATCH_ROWS, last = MIN(first + PATCH_ROWS, job->chip->rows);
    for (ptrdiff_t row = first; row < last; row++) {
        const double half = job->drop->half_width, y[3] = {(double)row - half, (double)row + half, (double)row};
        for (int i = 0; i < 3; i++) {
            RowPlace *place = i < 2 ? &job->edge_places[2 * row + i] : &job->centre_places[row];
            double fraction;
            place->knot_row = find_knot(map->y_knots, map->n_y_knots, y[i], &fraction);
            place->fraction = (float)fraction;
        }
    }
}

/* Prepare what patches of a row have in common, where some can reach the window; 0 if memory runs out. */
static int prepare_patch_rows(Job *job)
{
    const PixelMap *map = job->map;
    const size_t n_rows = (size_t)job->chip->rows, n_patch_rows = (size_t)patch_row_count(job->chip);
    job->row_terms = allocate(n_patch_rows * terms_per_row(job) * sizeof *job->row_terms);
    if (job->row_terms == NULL)
        return 0;
    if (map->n_y_knots > 0) {
        job->edge_places = allocate(n_rows * 2 * sizeof *job->edge_places);
        job->centre_places = allocate(n_rows * sizeof *job->centre_places);
        if (job->edge_places == NULL || job->centre_places == NULL)
            return 0;
    }
    for (size_t j = 0; j < n_patch_rows; j++) {
        if (!any_reaches(job, (ptrdiff_t)j))
            continue;
        expand_row(map, (double)middle_of_patch(job->chip, (ptrdiff_t)j), job->local_terms,
                   job->row_terms + j * terms_per_row(job));
        if (map->n_y_knots > 0)
            find_row_places(job, (ptrdiff_t)j);
    }
    return 1;
}

/* Bound the difference of a step of the map's polynomial from that at the nearest sample. */
static double step_slack(const PixelMap *map, const Chip *chip, const Bounds *bounds, int axis, int along)
{
    /* Samples are steps about the centres of pixels; others are half a pixel off, at most. */
    const double size[2] = {(double)chip->columns, (double)chip->rows};
    const double ahead = (size[along] - 1.0) / (2.0 * SAMPLES - 2.0) + 0.5;
    const double aside = (size[1 - along] - 1.0) / (2.0 * SAMPLES - 2.0) + 0.5;
    const int x_order = along == 0 ? 2 : 0;
    return ahead * 2.0 * polynomial_bound(map, axis, x_order, 2 - x_order, bounds->argument)
           + aside * polynomial_bound(map, axis, 1, 1, bounds->argument);
}

/* Take one of SAMPLES x SAMPLES samples of the steps of the map's polynomial, [along x, along y][output axis]. */
static void sample_steps(const PixelMap *map, const Chip *chip, int sample, double step[2][2])
{
    const double x = (double)(chip->columns - 1) * (sample % SAMPLES) / (SAMPLES - 1.0);
    const double y = (double)(chip->rows - 1) * (double)(sample / SAMPLES) / (SAMPLES - 1.0);
    for (int along = 0; along < 2; along++) {
        const double dx = along == 0 ? 0.5 : 0.0, dy = 0.5 - dx;
        double before[2];
        map_position(map, x - dx, y - dy, before);
        map_position(map, x + dx, y + dy, step[along]);
        for (int axis = 0; axis < 2; axis++)
            step[along][axis] -= before[axis];
    }
}

/* Find the steps of the map from a chip's pixels to the next. */
static Steps find_steps(const PixelMap *map, const Chip *chip, const Drop *drop, const Bounds *bounds)
{
    Steps steps = {.thin = 0};
    int mirrored = 0;
    for (int sample = 0; sample < SAMPLES * SAMPLES; sample++) {
        double step[2][2];
        sample_steps(map, chip, sample, step);
        for (int axis = 0; axis < 2; axis++) {
            for (int along = 0; along < 2; along++) {
                double *least = &steps.least[axis][along], *most = &steps.most[axis][along];
                *least = sample == 0 ? step[along][axis] : MIN(*least, step[along][axis]);
                *most = sample == 0 ? step[along][axis] : MAX(*most, step[along][axis]);
            }
        }
        const double area = step[0][0] * step[1][1] - step[0][1] * step[1][0];
        const double box = (fabs(step[0][0]) + fabs(step[1][0])) * (fabs(step[0][1]) + fabs(step[1][1]));
        steps.thin |= fabs(area) < THINNEST * box;
        mirrored += area < 0.0;
    }
    steps.thin |= mirrored > 0 && mirrored < SAMPLES * SAMPLES;
    for (int axis = 0; axis < 2; axis++) {
        for (int along = 0; along < 2; along++) {
            const double slack = step_slack(map, chip, bounds, axis, along);
            steps.least[axis][along] -= slack;
            steps.most[axis][along] += slack;
            /* Slopes may be steep between knots that are close, but values are bounded. */
            steps.residual[axis][along] =
                MIN(bounds->residual_slope[axis][along], bounds->residual / drop->half_width);
        }
    }
    return steps;
}

/* Give the longest step of the map's polynomial along an output axis from a chip's pixels to the next along x (0)
 * or y (1). */
static double longest_step(const Steps *steps, int axis, int along)
{
    return MAX(fabs(steps->least[axis][along]), fabs(steps->most[axis][along]));
}

/* Bound the output pixels that a drop covers along an axis. */
static double drop_extent(const Steps *steps, const Drop *drop, int axis)
{
    const double width = 2.0 * drop->half_width;
    if (drop->shape == KERNEL_TURBO)
        return width;
    double extent = 0.0;
    for (int along = 0; along < 2; along++)
        extent += width * (longest_step(steps, axis, along) + steps->residual[axis][along]);
    return extent;
}

/* Tell which edge of all drops is lowest along an output axis, lower (0), right (1), upper (2) or left (3); -1 if
 * that is not certain: where the steps may be shorter than some small units. */
static int lowest_edge(const Steps *steps, const Drop *drop, int axis, double units)
{
    if (drop->shape == KERNEL_TURBO)
        return axis == 0 ? 3 : 0;
    for (int along = 0; along < 2; along++) {
        const double shortest = 16.0 / (2.0 * drop->half_width * units) + steps->residual[axis][along];
        if (steps->least[axis][along] > shortest)
            return along == 0 ? 3 : 0;
        if (steps->most[axis][along] < -shortest)
            return along == 0 ? 1 : 2;
    }
    return -1;
}

/* Tell how many terms the map's polynomial needs about the middle of a lane's part of a patch, those whose powers
 * are less in sum: all others are rounding noise. */
static int count_local_terms(const PixelMap *map, const Bounds *bounds, double part)
{
    int n = (int)MAX(2 * map->terms - 1, FEWEST_LOCAL_TERMS);
    double size = 0.0;
    for (; n > FEWEST_LOCAL_TERMS; n--) {
        for (int i = 0; i < n; i++) {
            const double distances = pow(0.5 * part + 0.5, i) * pow(0.5 * PATCH_ROWS + 0.5, n - 1 - i);
            size += distances * MAX(polynomial_bound(map, 0, i, n - 1 - i, bounds->argument),
                                    polynomial_bound(map, 1, i, n - 1 - i, bounds->argument));
        }
        if (size > SMALLEST_TERM)
            break;
    }
    return n;
}

/* Choose the small unit, the sides of the boxes and the terms of local polynomials for a chip, and parts of a
 * number of pixels. */
static void choose_sizes(Job *job, double part)
{
    const Bounds *bounds = job->bounds;
    const Steps steps = find_steps(job->map, job->chip, job->drop, bounds);
    double largest_drop = 0.0, largest_part = 0.0;
    for (int axis = 0; axis < 2; axis++) {
        const double drop = drop_extent(&steps, job->drop, axis);
        largest_drop = MAX(largest_drop, drop);
        largest_part = MAX(largest_part, longest_step(&steps, axis, 0) * (part + 1.0)
                                             + longest_step(&steps, axis, 1) * (PATCH_ROWS + 1.0) + drop);
    }
    int exponent;
    frexp(largest_part + 24.0, &exponent);
    job->bits = MIN(MAX(LIMIT_EXPONENT - exponent, 0), MOST_BITS);
    const double units = ldexp(1.0, job->bits);
    /* Positions are truncated, and the residual's by themselves, which are in single precision. */
    const double extent = largest_drop + 4.0 / units + 1e-6 * bounds->residual;
    job->side = 2;
    while (job->side < LARGEST_BOX && extent >= (double)job->side - 1.0)
        job->side++;
    job->alike = extent < (double)job->side - 1.0;
    for (int axis = 0; axis < 2; axis++) {
        job->lowest_edge[axis] = lowest_edge(&steps, job->drop, axis, units);
        job->alike &= job->lowest_edge[axis] >= 0;
    }
    job->local_terms = count_local_terms(job->map, bounds, part);
    job->slow = job->drop->shape == KERNEL_SQUARE && steps.thin;
}
