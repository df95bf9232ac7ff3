/* The drizzle kernel's loops over pixels; included by _kernel.c once for each instruction set.
 *
 * The including file defines NAME(function), which gives each build its own names.  All loops run over whole
 * blocks, of fixed length and written without branches, so that compilers vectorise them.
 *
 * A pixel's shares do not depend on the window: blocks begin at fixed chip columns, and the arithmetic of a
 * block is the same wherever the window ends.  Nor does the order in which an output pixel receives them.  So
 * the sums of an output pixel have the same bits in any window that holds it.
 */

/* Evaluate the map at all positions of a side. */
INLINE void NAME(evaluate)(const PixelMap *map, const RowMap *row, Side *side, double out[2][POSITIONS])
{
    for (int axis = 0; axis < 2; axis++) {
        const double *c = row->coefficients[axis];
        const double *restrict s = side->argument;
        double *restrict u = out[axis];
        if (map->terms == 6) {
            const double c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4], c5 = c[5];
            for (int k = 0; k < POSITIONS; k++)
                u[k] = ((((c5 * s[k] + c4) * s[k] + c3) * s[k] + c2) * s[k] + c1) * s[k] + c0;
        } else {
            const double highest = c[map->terms - 1];
            for (int k = 0; k < POSITIONS; k++)
                u[k] = highest;
            for (ptrdiff_t power = map->terms - 2; power >= 0; power--) {
                const double term = c[power];
                for (int k = 0; k < POSITIONS; k++)
                    u[k] = u[k] * s[k] + term;
            }
        }
    }
    if (map->n_x_knots == 0)
        return;
    if (side->knot_row != row->knot_row)
        interpolate_side(map, side, row->knot_row);
    const double fraction = row->knot_fraction;
    for (int axis = 0; axis < 2; axis++) {
        const double *restrict base = side->residual[axis], *restrict step = side->residual_step[axis];
        double *restrict u = out[axis];
        for (int k = 0; k < POSITIONS; k++)
            u[k] += base[k] + fraction * step[k];
    }
}

/* Evaluate one edge row at the left and the right sides of the pixels. */
INLINE void NAME(evaluate_edge)(const Job *job, const RowMap *row, int edge)
{
    Workspace *ws = job->workspace;
    NAME(evaluate)(job->map, row, &ws->sides[0], ws->edges[edge][0]);
    if (job->edge_step == 2)
        NAME(evaluate)(job->map, row, &ws->sides[1], ws->edges[edge][1]);
}

/* Place the drops whose corners are given in boxes of output pixels. */
INLINE void NAME(place)(Workspace *ws, const double *const corners[2][4])
{
    for (int axis = 0; axis < 2; axis++) {
        const double *restrict p0 = corners[axis][0], *restrict p1 = corners[axis][1];
        const double *restrict p2 = corners[axis][2], *restrict p3 = corners[axis][3];
        float (*restrict corner)[BLOCK] = ws->corner[axis];
        float *restrict line = ws->line[axis];
        int32_t *restrict box = ws->box[axis];
        for (int p = 0; p < BLOCK; p++) {
            const double low = MIN(MIN(p0[p], p1[p]), MIN(p2[p], p3[p])) + 0.5;
            int32_t first = (int32_t)low;
            first -= (double)first > low; /* the conversion rounds towards 0 */
            box[p] = first;
            line[p] = (float)((double)first + 0.5 - p0[p]);
            corner[0][p] = (float)(p1[p] - p0[p]);
            corner[1][p] = (float)(p2[p] - p0[p]);
            corner[2][p] = (float)(p3[p] - p0[p]);
        }
    }
}

/* Side of the smallest box, in output pixels, that holds any drop of the block. */
INLINE float NAME(box_side)(const Workspace *ws)
{
    float largest = 0.0f;
    for (int axis = 0; axis < 2; axis++) {
        const float (*corner)[BLOCK] = ws->corner[axis];
        const float *line = ws->line[axis];
        for (int p = 0; p < BLOCK; p++) {
            const float high = MAX(MAX(corner[0][p], corner[1][p]), MAX(corner[2][p], 0.0f));
            const float side = high - line[p] + 1.0f;
            largest = MAX(largest, side);
        }
    }
    return largest;
}

/* First and last box origin of the block along an axis. */
INLINE void NAME(box_range)(const int32_t *box, int32_t *first, int32_t *last)
{
    int32_t low = box[0], high = box[0];
    for (int p = 0; p < BLOCK; p++) {
        low = MIN(low, box[p]);
        high = MAX(high, box[p]);
    }
    *first = low;
    *last = high;
}

/* Shares of all drops of a block in boxes of side x side output pixels.
 *
 * For each border between output pixels, the areas of the drop left of it and below it are integrals of x dy
 * and y dx along its edges (Green).  Here area[b][a] is the area left of border a and below border b, from the
 * integral of min(y, border b) dx over the part of each edge left of border a; the last a and b stand for
 * everything.  Differences of these give the areas in the output pixels.
 */
INLINE void NAME(shares)(Workspace *ws, const int side)
{
    const float (*restrict cx)[BLOCK] = ws->corner[0];
    const float (*restrict cy)[BLOCK] = ws->corner[1];
    const float *restrict line_x = ws->line[0], *restrict line_y = ws->line[1];
    float (*restrict share)[BLOCK] = ws->share;
    for (int p = 0; p < BLOCK; p++) {
        const float x[5] = {0.0f, cx[0][p], cx[1][p], cx[2][p], 0.0f};
        const float y[5] = {0.0f, cy[0][p], cy[1][p], cy[2][p], 0.0f};
        const float border_x = line_x[p], border_y = line_y[p];
        float area[LARGEST_BOX][LARGEST_BOX];
        UNROLL
        for (int b = 0; b < side; b++) {
            UNROLL
            for (int a = 0; a < side; a++)
                area[b][a] = 0.0f;
        }
        UNROLL
        for (int e = 0; e < 4; e++) {
            const int leftwards = x[e] > x[e + 1];
            const float x0 = leftwards ? x[e + 1] : x[e], x1 = leftwards ? x[e] : x[e + 1];
            const float y0 = leftwards ? y[e + 1] : y[e], y1 = leftwards ? y[e] : y[e + 1];
            const float half = leftwards ? -0.5f : 0.5f;
            const float width = x1 - x0, rise = y1 - y0;
            /* One division for the slope and its inverse; the limits only guard it. */
            const float run = MAX(width, SMALLEST_STEP), climb = MAX(MAX(rise, -rise), SMALLEST_STEP);
            const float inverse = 1.0f / (run * climb);
            const float slope = rise * climb * inverse, run_per_climb = run * run * inverse;
            UNROLL
            for (int a = 0; a < side; a++) {
                /* The edge's part left of border a is `reach` wide and ends at height y_end. */
                const float border = border_x + (float)a;
                const float reach = a == side - 1 ? width : MIN(MAX(border, x0), x1) - x0;
                const float y_end = a == side - 1 ? y1 : y0 + slope * reach;
                const float both = y0 + y_end;
                area[side - 1][a] += half * reach * both;
                UNROLL
                for (int b = 0; b < side - 1; b++) {
                    /* What of the integral lies above border b: a triangle or a trapezium. */
                    const float level = border_y + (float)b;
                    const float above0 = MAX(y0 - level, 0.0f), above1 = MAX(y_end - level, 0.0f);
                    const float base = MIN(reach, MAX(above0, above1) * run_per_climb);
                    area[b][a] += half * (reach * both - (above0 + above1) * base);
                }
            }
        }
        /* Negative for a mirrored drop; a drop without area has no shares. */
        const float total = area[side - 1][side - 1];
        const float inverse_total = MAX(total, -total) > SMALLEST_AREA ? 1.0f / total : 0.0f;
        UNROLL
        for (int b = 0; b < side; b++) {
            UNROLL
            for (int a = 0; a < side; a++) {
                float part = area[b][a];
                if (a > 0)
                    part -= area[b][a - 1];
                if (b > 0)
                    part -= area[b - 1][a];
                if (a > 0 && b > 0)
                    part += area[b - 1][a - 1];
                part *= inverse_total;
                share[b * side + a][p] = part > SMALLEST_SHARE ? part : 0.0f;
            }
        }
    }
}

/* Bring each drop's shares together, rows of the box padded to whole groups of output pixels.
 *
 * Four rows of 16 pixels are transposed within quarters of 16 numbers, which is quick, so that place q of
 * `packed` holds pixel PIXEL_AT(q): pixels that follow each other are four columns apart.
 */
INLINE void NAME(pack)(Workspace *ws, const int side)
{
    const int groups = (side + LANES - 1) / LANES;
    const Vector16 zero = {0.0f};
    for (int b = 0; b < side; b++) {
        for (int g = 0; g < groups; g++) {
            const float (*share)[BLOCK] = &ws->share[b * side + g * LANES];
            float (*packed)[LANES] = ws->packed[b * groups + g];
            const int n = MIN(side - g * LANES, LANES);
            for (int p = 0; p < BLOCK; p += 16) {
                const Vector16 s0 = *(const Vector16 *)&share[0][p];
                const Vector16 s1 = n > 1 ? *(const Vector16 *)&share[1][p] : zero;
                const Vector16 s2 = n > 2 ? *(const Vector16 *)&share[2][p] : zero;
                const Vector16 s3 = n > 3 ? *(const Vector16 *)&share[3][p] : zero;
                const Vector16 low01 = LOW_PAIRS(s0, s1), high01 = HIGH_PAIRS(s0, s1);
                const Vector16 low23 = LOW_PAIRS(s2, s3), high23 = HIGH_PAIRS(s2, s3);
                Vector16 *out = (Vector16 *)packed[p];
                out[0] = LOW_HALVES(low01, low23);
                out[1] = HIGH_HALVES(low01, low23);
                out[2] = LOW_HALVES(high01, high23);
                out[3] = HIGH_HALVES(high01, high23);
            }
        }
    }
}

/* Add a group of shares to the sums of as many output pixels. */
INLINE void NAME(add_sums)(float *sums, const float *share, const Vector8 *values)
{
    const Vector4 s = *(const Vector4 *)share;
    *(Vector8 *)sums += TWICE(s) * *values;
}

INLINE void NAME(add_flags)(int32_t *flags, const float *share, int32_t bits)
{
    const Vector4 s = *(const Vector4 *)share;
    *(Flags4 *)flags |= (s > 0.0f) & bits;
}

INLINE void NAME(add_variance)(float *sums, const float *share, float value)
{
    const Vector4 s = *(const Vector4 *)share;
    *(Vector4 *)sums += s * s * value;
}

/* What a pixel adds, per share. */
typedef struct {
    float value; /* weight x value */
    float weight;
    float variance; /* weight^2 x variance */
    int32_t quality;
} NAME(Contribution);

INLINE NAME(Contribution) NAME(contribution)(const Job *job, int p, float science, float weight)
{
    const float amplitude = weight * job->chip->factor;
    NAME(Contribution) c = {amplitude * science, weight, 0.0f, 0};
    if (job->window->variance != NULL)
        c.variance = amplitude * amplitude * job->workspace->variance[p];
    if (job->window->quality != NULL)
        c.quality = job->workspace->quality[p];
    return c;
}

/* Add groups of shares to output pixels that all lie in the window. */
INLINE void NAME(add_inside)(const Window *window, const Workspace *ws, int place, const int side,
                             const int planes, NAME(Contribution) c, ptrdiff_t at)
{
    const int groups = (side + LANES - 1) / LANES;
    const Vector8 values = {c.value, c.weight, c.value, c.weight, c.value, c.weight, c.value, c.weight};
    UNROLL
    for (int b = 0; b < side; b++) {
        UNROLL
        for (int g = 0; g < groups; g++) {
            const float *share = ws->packed[b * groups + g][place];
            const ptrdiff_t to = at + b * window->columns + g * LANES;
            NAME(add_sums)(window->sums + 2 * to, share, &values);
            if (planes >= 1 && window->context != NULL)
                NAME(add_flags)(window->context + to, share, window->context_bit);
            if (planes >= 2 && window->variance != NULL)
                NAME(add_variance)(window->variance + to, share, c.variance);
            if (planes >= 2 && window->quality != NULL)
                NAME(add_flags)(window->quality + to, share, c.quality);
        }
    }
}

/* The same with the part outside the window left out, by way of copies of the output pixels. */
static __attribute__((noinline)) void NAME(add_clipped)(const Window *window, const Workspace *ws,
                                                        int place, int side, NAME(Contribution) c,
                                                        ptrdiff_t row, ptrdiff_t column)
{
    const int groups = (side + LANES - 1) / LANES;
    const Vector8 values = {c.value, c.weight, c.value, c.weight, c.value, c.weight, c.value, c.weight};
    for (int b = 0; b < side; b++) {
        if (row + b < 0 || row + b >= window->rows)
            continue;
        for (int g = 0; g < groups; g++) {
            const ptrdiff_t first = column + g * LANES;
            const ptrdiff_t from = MAX(0 - first, 0), to = MIN(window->columns - first, LANES);
            if (from >= to)
                continue;
            const float *share = ws->packed[b * groups + g][place];
            const ptrdiff_t at = (row + b) * window->columns + first;
            float sums[2 * LANES] = {0}, variance[LANES] = {0};
            int32_t context[LANES] = {0}, quality[LANES] = {0};
            for (ptrdiff_t l = from; l < to; l++) {
                sums[2 * l] = window->sums[2 * (at + l)];
                sums[2 * l + 1] = window->sums[2 * (at + l) + 1];
                variance[l] = window->variance != NULL ? window->variance[at + l] : 0.0f;
            }
            NAME(add_sums)(sums, share, &values);
            NAME(add_flags)(context, share, window->context_bit);
            NAME(add_variance)(variance, share, c.variance);
            NAME(add_flags)(quality, share, c.quality);
            for (ptrdiff_t l = from; l < to; l++) {
                window->sums[2 * (at + l)] = sums[2 * l];
                window->sums[2 * (at + l) + 1] = sums[2 * l + 1];
                if (window->context != NULL)
                    window->context[at + l] |= context[l];
                if (window->variance != NULL)
                    window->variance[at + l] = variance[l];
                if (window->quality != NULL)
                    window->quality[at + l] |= quality[l];
            }
        }
    }
}

/* Whether boxes of pixels that are `distance` columns apart share no output pixels: if they do, adding one
 * after the other means waiting. */
INLINE int NAME(disjoint)(const Workspace *ws, int side, int distance)
{
    const int from = BLOCK / 2 - 1, to = from + distance;
    return abs(ws->box[0][to] - ws->box[0][from]) >= side || abs(ws->box[1][to] - ws->box[1][from]) >= side;
}

/* Add a block whose shares are packed. */
INLINE void NAME(scatter)(const Job *job, const float *science, const float *weights, const int side,
                          const int planes, int inside)
{
    const Workspace *ws = job->workspace;
    const Window window = *job->window;
    const int width = (side + LANES - 1) / LANES * LANES;
    const int stride = NAME(disjoint)(ws, side, LANES) ? 1 : 16;
    for (int start = 0; start < stride; start++) {
        for (int place = start; place < BLOCK; place += stride) {
            const int p = PIXEL_AT(place);
            const float weight = weights[p];
            if (weight == 0.0f)
                continue;
            const NAME(Contribution) c = NAME(contribution)(job, p, science[p], weight);
            const ptrdiff_t row = ws->box[1][p] - window.first_row;
            const ptrdiff_t column = ws->box[0][p] - window.first_column;
            if (inside
                || (row >= 0 && row + side <= window.rows && column >= 0 && column + width <= window.columns))
                NAME(add_inside)(&window, ws, place, side, planes, c, row * window.columns + column);
            else
                NAME(add_clipped)(job->window, ws, place, side, c, row, column);
        }
    }
}

/* Shares of a block in boxes of a given side, added to the window. */
INLINE void NAME(add_boxes)(const Job *job, const float *science, const float *weights, const int side,
                            int inside)
{
    const Window *window = job->window;
    NAME(shares)(job->workspace, side);
    NAME(pack)(job->workspace, side);
    if (window->variance != NULL || window->quality != NULL)
        NAME(scatter)(job, science, weights, side, 2, inside);
    else if (window->context != NULL)
        NAME(scatter)(job, science, weights, side, 1, inside);
    else
        NAME(scatter)(job, science, weights, side, 0, inside);
}

#define ADD_BOXES(SIDE)                                                                                       \
    static __attribute__((noinline)) void NAME(add_boxes_##SIDE)(const Job *job, const float *science,         \
                                                                 const float *weights, int inside)            \
    {                                                                                                         \
        NAME(add_boxes)(job, science, weights, SIDE, inside);                                                 \
    }
ADD_BOXES(2)
ADD_BOXES(3)
ADD_BOXES(4)
ADD_BOXES(5)
ADD_BOXES(6)
ADD_BOXES(7)
ADD_BOXES(8)
#undef ADD_BOXES

/* Add one share to one output pixel, which may lie outside the window. */
INLINE void NAME(add_one)(const Window *window, ptrdiff_t row, ptrdiff_t column, float share,
                          NAME(Contribution) c)
{
    if (row < 0 || row >= window->rows || column < 0 || column >= window->columns)
        return;
    const ptrdiff_t at = row * window->columns + column;
    window->sums[2 * at] += share * c.value;
    window->sums[2 * at + 1] += share * c.weight;
    if (window->context != NULL)
        window->context[at] |= window->context_bit;
    if (window->variance != NULL)
        window->variance[at] += share * share * c.variance;
    if (window->quality != NULL)
        window->quality[at] |= c.quality;
}

/* Add a block with drops too large for the vectorised areas, output pixel by output pixel. */
static __attribute__((noinline)) void NAME(add_large)(const Job *job, const float *science,
                                                      const float *weights)
{
    const Workspace *ws = job->workspace;
    const Window *window = job->window;
    for (int p = 0; p < BLOCK; p++) {
        if (weights[p] == 0.0f)
            continue;
        const NAME(Contribution) c = NAME(contribution)(job, p, science[p], weights[p]);
        double corner[2][4] = {{0.0}};
        int64_t first[2], last[2]; /* of the box, in the window */
        const ptrdiff_t origin[2] = {window->first_column, window->first_row};
        const ptrdiff_t size[2] = {window->columns, window->rows};
        for (int axis = 0; axis < 2; axis++) {
            double high = 0.0;
            for (int e = 1; e < 4; e++) {
                corner[axis][e] = ws->corner[axis][e - 1][p];
                high = MAX(high, corner[axis][e]);
            }
            first[axis] = ws->box[axis][p] - origin[axis];
            last[axis] = MIN(first[axis] + 1 + (int64_t)MAX(high - ws->line[axis][p], 0.0), size[axis] - 1);
        }
        for (int64_t row = MAX(first[1], 0); row <= last[1]; row++) {
            for (int64_t column = MAX(first[0], 0); column <= last[0]; column++) {
                const double left = ws->line[0][p] + (double)(column - first[0]) - 1.0;
                const double bottom = ws->line[1][p] + (double)(row - first[1]) - 1.0;
                const float share = (float)share_of_pixel(corner[0], corner[1], left, bottom);
                if (share > SMALLEST_SHARE)
                    NAME(add_one)(window, row, column, share, c);
            }
        }
    }
}

/* Ask for the memory where the pixels a few rows on will land: `right` and `up` of where these do. */
INLINE void NAME(prefetch_output)(const Job *job, int32_t right, int32_t up)
{
    const Workspace *ws = job->workspace;
    const Window *window = job->window;
    const ptrdiff_t from = 1 + right - window->first_column, above = 1 + up - window->first_row;
    float *const sums = window->sums;
    int32_t *const context = window->context;
    for (int p = 0; p < BLOCK; p += 2) {
        const ptrdiff_t at = (ws->box[1][p] + above) * window->columns + ws->box[0][p] + from;
        __builtin_prefetch(sums + 2 * at, 1);
        if (context != NULL)
            __builtin_prefetch(context + at, 1);
    }
}

/* Whether a window holds output pixels from x0 to before x1 and from y0 to before y1. */
INLINE int NAME(holds)(const Window *window, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t y0, ptrdiff_t y1)
{
    return x0 >= window->first_column && x1 <= window->first_column + window->columns
           && y0 >= window->first_row && y1 <= window->first_row + window->rows;
}

/* Add a block whose drops have the given corners, and tell where it lies. */
INLINE Place NAME(add_quadrilaterals)(const Job *job, const float *science, const float *weights,
                                     const double *const corners[2][4])
{
    Workspace *ws = job->workspace;
    const Window *window = job->window;
    NAME(place)(ws, corners);
    int32_t x0, x1, y0, y1;
    NAME(box_range)(ws->box[0], &x0, &x1);
    NAME(box_range)(ws->box[1], &y0, &y1);
    const float needed = NAME(box_side)(ws);
    const int large = needed > LARGEST_BOX;
    const ptrdiff_t reach = (ptrdiff_t)needed + 1;
    if (x1 + reach <= window->first_column || x0 >= window->first_column + window->columns
        || y1 + reach <= window->first_row || y0 >= window->first_row + window->rows)
        return PLACE_OUTSIDE;
    if (large) {
        NAME(add_large)(job, science, weights);
        return PLACE_CROSSING;
    }
    int side = (int)needed;
    side += (float)side < needed;
    side = MAX(side, SMALLEST_BOX);
    const int width = (side + LANES - 1) / LANES * LANES;
    const int inside = NAME(holds)(window, x0, x1 + width, y0, y1 + side);
    const int32_t right = (int32_t)(ROWS_AHEAD * (corners[0][3][0] - corners[0][0][0]));
    const int32_t up = (int32_t)(ROWS_AHEAD * (corners[1][3][0] - corners[1][0][0]));
    if (NAME(holds)(window, x0 + right, x1 + width + right, y0 + up, y1 + side + up))
        NAME(prefetch_output)(job, right, up);
    switch (side) {
    case 2: NAME(add_boxes_2)(job, science, weights, inside); break;
    case 3: NAME(add_boxes_3)(job, science, weights, inside); break;
    case 4: NAME(add_boxes_4)(job, science, weights, inside); break;
    case 5: NAME(add_boxes_5)(job, science, weights, inside); break;
    case 6: NAME(add_boxes_6)(job, science, weights, inside); break;
    case 7: NAME(add_boxes_7)(job, science, weights, inside); break;
    default: NAME(add_boxes_8)(job, science, weights, inside); break;
    }
    return inside ? PLACE_INSIDE : PLACE_CROSSING;
}

/* Count the weighted pixels of a block whose centres lie in the window. */
INLINE ptrdiff_t NAME(count_inside)(const Job *job, const float *weights)
{
    const double *x = job->workspace->centres[0], *y = job->workspace->centres[1];
    const double left = (double)job->window->first_column - 0.5;
    const double bottom = (double)job->window->first_row - 0.5;
    const double right = left + (double)job->window->columns, top = bottom + (double)job->window->rows;
    int32_t n = 0;
    for (int p = 0; p < BLOCK; p++)
        n += (x[p] >= left) & (x[p] < right) & (y[p] >= bottom) & (y[p] < top) & (weights[p] != 0.0f);
    return n;
}


INLINE ptrdiff_t NAME(count_weighted)(const float *weights)
{
    int32_t n = 0;
    for (int p = 0; p < BLOCK; p++)
        n += weights[p] != 0.0f;
    return n;
}

/* Evaluate the map at the block's pixel centres. */
INLINE void NAME(evaluate_centres)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    NAME(evaluate)(job->map, &job->middle_row_maps[row], &ws->middle, ws->centres);
}

/* Add a block of a chip row with the square kernel; `*edge` is the chip row whose lower edge is at hand. */
INLINE ptrdiff_t NAME(add_squares)(const Job *job, ptrdiff_t row, ptrdiff_t *edge, const float *science,
                                   const float *weights)
{
    Workspace *ws = job->workspace;
    const RowMap *maps = job->row_maps + row * job->edge_step;
    const int shared = job->edge_step == 1;
    const int lower = shared ? (int)(row & 1) : 0, upper = 1 - lower;
    if (!shared || *edge != row)
        NAME(evaluate_edge)(job, &maps[0], lower);
    NAME(evaluate_edge)(job, &maps[1], upper);
    *edge = row + 1;
    const double *corners[2][4];
    for (int axis = 0; axis < 2; axis++) {
        corners[axis][0] = ws->edges[lower][0][axis];
        corners[axis][1] = shared ? ws->edges[lower][0][axis] + 1 : ws->edges[lower][1][axis];
        corners[axis][2] = shared ? ws->edges[upper][0][axis] + 1 : ws->edges[upper][1][axis];
        corners[axis][3] = ws->edges[upper][0][axis];
    }
    switch (NAME(add_quadrilaterals)(job, science, weights, corners)) {
    case PLACE_INSIDE: return NAME(count_weighted)(weights);
    case PLACE_OUTSIDE: return 0;
    default: NAME(evaluate_centres)(job, row); return NAME(count_inside)(job, weights);
    }
}

/* Add a block of a chip row with the turbo kernel: upright squares about the pixel centres. */
INLINE ptrdiff_t NAME(add_turbos)(const Job *job, ptrdiff_t row, const float *science, const float *weights)
{
    Workspace *ws = job->workspace;
    const double half = job->drop->half_width;
    NAME(evaluate_centres)(job, row);
    for (int axis = 0; axis < 2; axis++) {
        for (int k = 0; k < POSITIONS; k++) {
            ws->edges[0][0][axis][k] = ws->centres[axis][k] - half;
            ws->edges[1][0][axis][k] = ws->centres[axis][k] + half;
        }
    }
    const double *const left = ws->edges[0][0][0], *const right = ws->edges[1][0][0];
    const double *const bottom = ws->edges[0][0][1], *const top = ws->edges[1][0][1];
    const double *const corners[2][4] = {{left, right, right, left}, {bottom, bottom, top, top}};
    switch (NAME(add_quadrilaterals)(job, science, weights, corners)) {
    case PLACE_INSIDE: return NAME(count_weighted)(weights);
    case PLACE_OUTSIDE: return 0;
    default: return NAME(count_inside)(job, weights);
    }
}

/* Add a block of a chip row with the point kernel: all of a pixel where its centre falls. */
INLINE ptrdiff_t NAME(add_points)(const Job *job, ptrdiff_t row, const float *science, const float *weights)
{
    Workspace *ws = job->workspace;
    const Window *window = job->window;
    NAME(evaluate_centres)(job, row);
    for (int axis = 0; axis < 2; axis++) {
        for (int p = 0; p < BLOCK; p++) {
            const double middle = ws->centres[axis][p] + 0.5;
            const int32_t first = (int32_t)middle;
            ws->box[axis][p] = first - ((double)first > middle);
        }
    }
    for (int p = 0; p < BLOCK; p++) {
        if (weights[p] == 0.0f)
            continue;
        const NAME(Contribution) c = NAME(contribution)(job, p, science[p], weights[p]);
        NAME(add_one)(window, ws->box[1][p] - window->first_row, ws->box[0][p] - window->first_column, 1.0f,
                      c);
    }
    return NAME(count_inside)(job, weights);
}

/* Give the block's science values and weights, copied and continued with weights of 0 at the chip's end. */
INLINE void NAME(load)(const Job *job, ptrdiff_t at, ptrdiff_t n, const float **science, const float **weights)
{
    const Chip *chip = job->chip;
    Workspace *ws = job->workspace;
    if (chip->variance != NULL)
        memcpy(ws->variance, chip->variance + at, (size_t)n * sizeof(float));
    if (chip->quality != NULL)
        memcpy(ws->quality, chip->quality + at, (size_t)n * sizeof(int32_t));
    *science = chip->science + at;
    *weights = chip->weight + at;
    if (n == BLOCK)
        return;
    memset(ws->weight, 0, sizeof ws->weight);
    memcpy(ws->weight, chip->weight + at, (size_t)n * sizeof(float));
    memcpy(ws->science, chip->science + at, (size_t)n * sizeof(float));
    *science = ws->science;
    *weights = ws->weight;
}

INLINE void NAME(prefetch_input)(const Chip *chip, ptrdiff_t row, ptrdiff_t first)
{
    if (row + INPUT_ROWS_AHEAD >= chip->rows)
        return;
    const ptrdiff_t at = (row + INPUT_ROWS_AHEAD) * chip->columns + first;
    for (int p = 0; p < BLOCK && first + p < chip->columns; p += 16) {
        __builtin_prefetch(chip->science + at + p);
        __builtin_prefetch(chip->weight + at + p);
    }
}

/* Add a chip to a window; gives the number of weighted pixels whose centres fall in the window.
 *
 * Columns of blocks are walked from the chip's first row to its last, so that the output pixels stay in the
 * caches from one row to the next.
 */
static ptrdiff_t NAME(add_chip)(const Job *job)
{
    const Chip *chip = job->chip;
    Workspace *ws = job->workspace;
    const ptrdiff_t n_blocks = (chip->columns + BLOCK - 1) / BLOCK;
    const double half = job->drop->half_width;
    ptrdiff_t n_used = 0;
    for (ptrdiff_t block = 0; block < n_blocks; block++) {
        const ptrdiff_t first = block * BLOCK, n = MIN(chip->columns - first, BLOCK);
        const int shared = job->edge_step == 1;
        start_side(job->map, &ws->sides[0], first, shared ? n : n - 1, -half);
        start_side(job->map, &ws->sides[1], first, n - 1, half);
        start_side(job->map, &ws->middle, first, n - 1, 0.0);
        ptrdiff_t edge = -1;
        for (ptrdiff_t row = 0; row < chip->rows; row++) {
            if (row % PATCH_ROWS == 0 && !job->patches[row / PATCH_ROWS * n_blocks + block]) {
                row += PATCH_ROWS - 1;
                continue;
            }
            const float *science, *weights;
            NAME(prefetch_input)(chip, row, first);
            NAME(load)(job, row * chip->columns + first, n, &science, &weights);
            if (NAME(count_weighted)(weights) == 0)
                continue;
            switch (job->drop->shape) {
            case KERNEL_SQUARE: n_used += NAME(add_squares)(job, row, &edge, science, weights); break;
            case KERNEL_TURBO: n_used += NAME(add_turbos)(job, row, science, weights); break;
            case KERNEL_POINT: n_used += NAME(add_points)(job, row, science, weights); break;
            }
        }
    }
    return n_used;
}

/* Divide the sums: science = sum(w a d) / sum(w a), weight = sum(w a). */
static void NAME(divide)(const float *restrict sums, ptrdiff_t n, float fill, float *restrict science,
                         float *restrict weight)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const float total = sums[2 * i + 1];
        weight[i] = total;
        science[i] = total > 0.0f ? sums[2 * i] / total : fill;
    }
}
