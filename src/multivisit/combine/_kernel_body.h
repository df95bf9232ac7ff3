/* The drizzle kernel's loops over pixels; included by _kernel.c once for each instruction set.
 *
 * The including file defines NAME(function), which gives each build its own names, and LANES, the numbers in a
 * vector.  All loops run over whole blocks, of fixed length and written without branches, so that compilers
 * vectorise them.
 *
 * A pixel's shares do not depend on the window: blocks and patches begin at fixed chip columns and rows, and
 * their arithmetic is the same wherever the window ends.  Nor does the order in which an output pixel receives
 * them: sums over a patch, one lane after the other, and patch after patch.  So the sums of an output pixel
 * have the same bits in any window that holds it.
 */

/* Pixels of a block, and positions of their sides. */
#define BLOCK (PART * LANES)
#define PLACES (BLOCK + LANES)

typedef float NAME(Vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t NAME(Flags) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Evaluate the map at all positions of a side, in small units from the lanes' origins. */
INLINE void NAME(evaluate)(const Job *job, const RowMap *row, Side *side, int32_t out[2][POSITIONS])
{
    const PixelMap *map = job->map;
    Workspace *ws = job->workspace;
    const int residual = map->n_x_knots > 0;
    if (residual && side->knot_row != row->knot_row)
        interpolate_side(map, side, row->knot_row, ldexp(1.0, job->bits));
    for (int axis = 0; axis < 2; axis++) {
        const double *c = row->coefficients[axis];
        const double *restrict s = side->argument, *restrict offset = ws->shift[axis];
        int32_t *restrict u = out[axis];
        if (residual) {
            const double *restrict base = side->residual[axis], *restrict step = side->residual_step[axis];
            const double fraction = row->knot_fraction;
            for (int k = 0; k < PLACES; k++)
                ws->offset[k] = offset[k] + (base[k] + fraction * step[k]);
            offset = ws->offset;
        }
        if (map->terms == 6) {
            const double c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], c4 = c[4], c5 = c[5];
            for (int k = 0; k < PLACES; k++) {
                const double position = ((((c5 * s[k] + c4) * s[k] + c3) * s[k] + c2) * s[k] + c1) * s[k] + c0;
                u[k] = (int32_t)fmin(fmax(position + offset[k], -LIMIT), LIMIT);
            }
        } else {
            for (int k = 0; k < PLACES; k++) {
                double position = c[map->terms - 1];
                for (ptrdiff_t power = map->terms - 2; power >= 0; power--)
                    position = position * s[k] + c[power];
                u[k] = (int32_t)fmin(fmax(position + offset[k], -LIMIT), LIMIT);
            }
        }
    }
}

/* Evaluate one edge row at the left and the right sides of the pixels. */
INLINE void NAME(evaluate_edge)(const Job *job, const RowMap *row, int edge)
{
    Workspace *ws = job->workspace;
    NAME(evaluate)(job, row, &ws->sides[0], ws->edges[edge][0]);
    if (job->edge_step == 2)
        NAME(evaluate)(job, row, &ws->sides[1], ws->edges[edge][1]);
}

/* Place the drops whose corners are given in boxes of output pixels; gives the side that no box exceeds. */
INLINE int NAME(place)(Workspace *ws, const int bits, const int32_t *const corners[2][4])
{
    int32_t widest = 0;
    for (int axis = 0; axis < 2; axis++) {
        const int32_t *restrict p0 = corners[axis][0], *restrict p1 = corners[axis][1];
        const int32_t *restrict p2 = corners[axis][2], *restrict p3 = corners[axis][3];
        float (*restrict corner)[LARGEST_BLOCK] = ws->corner[axis];
        float *restrict line = ws->line[axis];
        int32_t *restrict box = ws->box[axis];
        for (int p = 0; p < BLOCK; p++) {
            const int32_t first = MIN(MIN(p0[p], p1[p]), MIN(p2[p], p3[p])) >> bits;
            const int32_t last = MAX(MAX(p0[p], p1[p]), MAX(p2[p], p3[p])) >> bits;
            widest = MAX(widest, last - first);
            box[p] = first;
            line[p] = (float)DIFFERENCE(TIMES_UNITS(first + 1, bits), p0[p]);
            corner[0][p] = (float)DIFFERENCE(p1[p], p0[p]);
            corner[1][p] = (float)DIFFERENCE(p2[p], p0[p]);
            corner[2][p] = (float)DIFFERENCE(p3[p], p0[p]);
        }
    }
    return widest + 1;
}

/* Shares of all drops of a block in boxes of side x side output pixels.
 *
 * For each border between output pixels, the areas of the drop left of it and above it are integrals of x dy
 * and y dx along its edges (Green).  Here above[b][a] is the area left of border a and above border b, from the
 * integral of max(y - border b, 0) dx over the part of each edge left of border a, and strip[a] is the area left
 * of border a; the last a stands for everything.  Differences of these give the areas in the output pixels.
 *
 * Heights above a border are taken in steps along x: those in which the edge rises or falls as much.  So the
 * part of an edge above a border is as wide as its higher end is high, unless all of it is above.
 */
INLINE void NAME(shares)(Workspace *ws, const int bits, const int side)
{
    const float unit = (float)(1 << bits); /* an output pixel */
    const float (*restrict cx)[LARGEST_BLOCK] = ws->corner[0];
    const float (*restrict cy)[LARGEST_BLOCK] = ws->corner[1];
    const float *restrict line_x = ws->line[0], *restrict line_y = ws->line[1];
    float (*restrict share)[LARGEST_BLOCK] = ws->share;
    for (int p = 0; p < BLOCK; p++) {
        const float x[5] = {0.0f, cx[0][p], cx[1][p], cx[2][p], 0.0f};
        const float y[5] = {0.0f, cy[0][p], cy[1][p], cy[2][p], 0.0f};
        const float border_x = line_x[p], border_y = line_y[p];
        float above[LARGEST_BOX][LARGEST_BOX], strip[LARGEST_BOX];
        UNROLL
        for (int a = 0; a < side; a++) {
            strip[a] = 0.0f;
            UNROLL
            for (int b = 0; b < side - 1; b++)
                above[b][a] = 0.0f;
        }
        UNROLL
        for (int e = 0; e < 4; e++) {
            const int leftwards = x[e] > x[e + 1];
            const float x0 = MIN(x[e], x[e + 1]), width = MAX(x[e], x[e + 1]) - x0;
            const float y0 = leftwards ? y[e + 1] : y[e], y1 = leftwards ? y[e] : y[e + 1];
            const float half = leftwards ? -0.5f : 0.5f;
            const float rise = y1 - y0;
            /* One division for the slope and its inverse; the limits only guard it. */
            const float run = MAX(width, SMALLEST_STEP), climb = MAX(MAX(rise, -rise), SMALLEST_STEP);
            const float inverse = 1.0f / (run * climb);
            const float steepness = climb * climb * inverse, run_per_climb = run * run * inverse;
            const float upwards = rise < 0.0f ? -1.0f : 1.0f, slope = steepness * upwards;
            const float half_steepness = half * steepness;
            float start[LARGEST_BOX], start_above[LARGEST_BOX], half_above[LARGEST_BOX];
            UNROLL
            for (int b = 0; b < side - 1; b++) {
                start[b] = (y0 - (border_y + (float)b * unit)) * run_per_climb;
                start_above[b] = MAX(start[b], 0.0f);
                half_above[b] = half_steepness * start_above[b];
            }
            UNROLL
            for (int a = 0; a < side; a++) {
                /* The edge's part left of border a is `reach` wide. */
                const float ahead = border_x + (float)a * unit - x0;
                const float reach = a == side - 1 ? width : MIN(MAX(ahead, 0.0f), width);
                const float step = upwards * reach;
                const float both = a == side - 1 ? y0 + y1 : 2.0f * y0 + slope * reach;
                strip[a] += half * reach * both;
                UNROLL
                for (int b = 0; b < side - 1; b++) {
                    /* A triangle or a trapezium. */
                    const float end_above = MAX(start[b] + step, 0.0f);
                    const float base = MIN(reach, MAX(start_above[b], end_above));
                    above[b][a] += (half_above[b] + half_steepness * end_above) * base;
                }
            }
        }
        /* Negative for a mirrored drop; a drop without area has no shares. */
        const float total = strip[side - 1];
        const float inverse_total = MAX(total, -total) > SMALLEST_AREA ? 1.0f / total : 0.0f;
        UNROLL
        for (int b = 0; b < side; b++) {
            UNROLL
            for (int a = 0; a < side; a++) {
                const float here = (b > 0 ? above[b - 1][a] : strip[a]) - (b < side - 1 ? above[b][a] : 0.0f);
                float part = here;
                if (a > 0)
                    part -= (b > 0 ? above[b - 1][a - 1] : strip[a - 1])
                            - (b < side - 1 ? above[b][a - 1] : 0.0f);
                part *= inverse_total;
                share[b * side + a][p] = part > SMALLEST_SHARE ? part : 0.0f;
            }
        }
    }
}

/* Add a share of a pixel to an output pixel, which may lie outside the window. */
INLINE void NAME(add_one)(const Job *job, int place, ptrdiff_t row, ptrdiff_t column, float share)
{
    const Window *window = job->window;
    const Workspace *ws = job->workspace;
    if (row < 0 || row >= window->rows || column < 0 || column >= window->columns)
        return;
    const ptrdiff_t at = row * window->columns + column;
    touch(window, row, column, column + 1);
    window->sums[2 * at] += share * ws->value[place];
    window->sums[2 * at + 1] += share * ws->weight[place];
    if (window->context != NULL)
        window->context[at] |= window->context_bit;
    if (window->variance != NULL)
        window->variance[at] += share * share * ws->variance[place];
    if (window->quality != NULL)
        window->quality[at] |= ws->quality[place];
}

/* Add some pixels to the window one by one, from one place on: those that lie as no tile or box holds them, and
 * only those that are left. */
static __attribute__((noinline)) void NAME(add_slowly)(const Job *job, int place, int n, const int32_t *left)
{
    const Workspace *ws = job->workspace;
    const Window *window = job->window;
    const ptrdiff_t origin[2] = {window->first_column, window->first_row};
    const ptrdiff_t size[2] = {window->columns, window->rows};
    for (int p = place; p < place + n; p++) {
        if (ws->weight[p] == 0.0f || (left != NULL && !left[p - place]))
            continue;
        const ptrdiff_t column = ws->first_column + p % LANES * PART + p / LANES;
        double corner[2][4];
        drop_corners(job->map, job->drop, (double)column, (double)ws->row, corner);
        double lowest[2]; /* border of the box, relative to corner 0 */
        ptrdiff_t first[2], last[2], box[2]; /* output pixels in the window, and the first of the box */
        for (int axis = 0; axis < 2; axis++) {
            double *c = corner[axis];
            const double low = MIN(MIN(c[0], c[1]), MIN(c[2], c[3])) + 0.5;
            const double high = MAX(MAX(c[0], c[1]), MAX(c[2], c[3])) + 0.5;
            const double start = c[0] + 0.5;
            lowest[axis] = floor(low) - start;
            box[axis] = (ptrdiff_t)floor(low) - origin[axis];
            first[axis] = MAX(box[axis], 0);
            last[axis] = MIN((ptrdiff_t)floor(high) - origin[axis], size[axis] - 1);
            for (int e = 3; e >= 0; e--)
                c[e] -= c[0];
        }
        for (ptrdiff_t y = first[1]; y <= last[1]; y++) {
            for (ptrdiff_t x = first[0]; x <= last[0]; x++) {
                const double left = lowest[0] + (double)(x - box[0]), bottom = lowest[1] + (double)(y - box[1]);
                const float share = (float)share_of_pixel(corner[0], corner[1], left, bottom);
                if (share > SMALLEST_SHARE)
                    NAME(add_one)(job, p, y, x, share);
            }
        }
    }
}

/* Find the smallest number of a vector. */
INLINE int32_t NAME(smallest)(NAME(Flags) v)
{
#if LANES == 16
    v = SMALLER(v, ROTATED_8_OF_16(v));
#endif
    v = SMALLER(v, ROTATED_4(v));
    v = SMALLER(v, ROTATED_2(v));
    v = SMALLER(v, ROTATED_1(v));
    return v[0];
}

/* Which of the planes of a tile. */
enum { NAME(SUMS), NAME(VARIANCE), NAME(QUALITY) };

#define KEEP(mask, v) ((NAME(Vector))((mask) & (NAME(Flags))(v)))
#define CHOOSE(mask, yes, no) ((NAME(Vector))(((mask) & (NAME(Flags))(yes)) | (~(mask) & (NAME(Flags))(no))))

/* Pixels of a vector whose boxes begin in one of two neighbouring output pixels along both axes. */
typedef struct {
    NAME(Flags) members, right, up; /* whether they are among them, and begin in the second one */
    int32_t column, row; /* first output pixel */
} NAME(Group);

/* Find a group of pixels among the lanes `left`, the lowest ones along x. */
INLINE NAME(Group) NAME(find_group)(const Workspace *ws, int place, NAME(Flags) left)
{
    NAME(Group) group;
    const NAME(Flags) x = *(const NAME(Flags) *)&ws->box[0][place], y = *(const NAME(Flags) *)&ws->box[1][place];
    group.column = NAME(smallest)((left & x) | (~left & INT32_MAX));
    left &= x <= group.column + 1;
    group.row = NAME(smallest)((left & y) | (~left & INT32_MAX));
    group.members = left & (y <= group.row + 1);
    group.right = x > group.column;
    group.up = y > group.row;
    return group;
}

/* Add the shares of a group of pixels to a plane of the tile.
 *
 * The boxes of some begin one output pixel farther right or up: the shares of all are moved in boxes that are
 * larger by one.
 */
INLINE void NAME(add_to_tile)(const Workspace *ws, int place, const NAME(Group) *group, const int side,
                              const int plane)
{
    const float (*share)[LARGEST_BLOCK] = ws->share;
    const Tile *tile = &ws->tile;
    const NAME(Flags) right = group->right, up = group->up, members = group->members;
    const NAME(Vector) zero = {0.0f};
    const NAME(Vector) value = KEEP(members, *(const NAME(Vector) *)&ws->value[place]);
    const NAME(Vector) weight = KEEP(members, *(const NAME(Vector) *)&ws->weight[place]);
    const NAME(Vector) variance = KEEP(members, *(const NAME(Vector) *)&ws->variance[place]);
    const NAME(Flags) quality = members & *(const NAME(Flags) *)&ws->quality[place];
    const ptrdiff_t at = group->row * tile->stride + group->column;
    UNROLL
    for (int a = 0; a <= side; a++) {
        NAME(Vector) below = zero;
        UNROLL
        for (int b = 0; b <= side; b++) {
            NAME(Vector) here = zero;
            if (b < side) {
                const NAME(Vector) middle = a < side ? *(const NAME(Vector) *)&share[b * side + a][place] : zero;
                const NAME(Vector) left = a > 0 ? *(const NAME(Vector) *)&share[b * side + a - 1][place] : zero;
                here = CHOOSE(right, left, middle);
            }
            const NAME(Vector) part = CHOOSE(up, below, here);
            below = here;
            const ptrdiff_t cell = at + b * tile->stride + a;
            if (plane == NAME(SUMS)) {
                NAME(Vector) *sums = (NAME(Vector) *)(tile->sums + cell * 2 * LANES);
                sums[0] += part * value;
                sums[1] += part * weight;
            } else if (plane == NAME(VARIANCE)) {
                *(NAME(Vector) *)(tile->variance + cell * LANES) += part * part * variance;
            } else {
                *(NAME(Flags) *)(tile->quality + cell * LANES) |= (part > 0.0f) & quality;
            }
        }
    }
}

/* Shares of a block in boxes of a given side, added to the tile. */
INLINE void NAME(add_boxes)(const Job *job, const int side)
{
    Workspace *ws = job->workspace;
    Tile *tile = &ws->tile;
    NAME(shares)(ws, job->bits, side);
    for (int place = 0; place < BLOCK; place += LANES) {
        NAME(Flags) left = *(const NAME(Vector) *)&ws->weight[place] != 0.0f;
        while (ANY(left)) {
            const NAME(Group) group = NAME(find_group)(ws, place, left);
            const int32_t column = group.column, row = group.row;
            if (column < 0 || row < 0 || column + side >= tile->columns || row + side >= tile->rows) {
                *(NAME(Flags) *)ws->left = left;
                NAME(add_slowly)(job, place, LANES, ws->left);
                break;
            }
            left &= ~group.members;
            for (int b = 0; b <= side; b++) {
                tile->first[row + b] = MIN(tile->first[row + b], column);
                tile->last[row + b] = MAX(tile->last[row + b], column + side + 1);
            }
            tile->in_use = 1;
            NAME(add_to_tile)(ws, place, &group, side, NAME(SUMS));
            if (tile->variance != NULL)
                NAME(add_to_tile)(ws, place, &group, side, NAME(VARIANCE));
            if (tile->quality != NULL)
                NAME(add_to_tile)(ws, place, &group, side, NAME(QUALITY));
        }
    }
}

/* Transpose LANES x LANES numbers, whose rows are some numbers apart; changes `in` on the way.
 *
 * Blocks of 4 x 4 numbers first, in place, then what the quarters (halves) of the vectors hold.  Not in an array
 * of vectors on the stack: compilers do not align those for the address sanitizer.
 */
INLINE void NAME(transpose)(float *in, ptrdiff_t in_stride, float *out, ptrdiff_t out_stride)
{
    UNROLL
    for (int g = 0; g < LANES; g += 4) {
        NAME(Vector) *const r0 = (NAME(Vector) *)(in + g * in_stride);
        NAME(Vector) *const r1 = (NAME(Vector) *)(in + (g + 1) * in_stride);
        NAME(Vector) *const r2 = (NAME(Vector) *)(in + (g + 2) * in_stride);
        NAME(Vector) *const r3 = (NAME(Vector) *)(in + (g + 3) * in_stride);
        const NAME(Vector) low01 = LOW_PAIRS(*r0, *r1), high01 = HIGH_PAIRS(*r0, *r1);
        const NAME(Vector) low23 = LOW_PAIRS(*r2, *r3), high23 = HIGH_PAIRS(*r2, *r3);
        *r0 = LOW_HALVES(low01, low23);
        *r1 = HIGH_HALVES(low01, low23);
        *r2 = LOW_HALVES(high01, high23);
        *r3 = HIGH_HALVES(high01, high23);
    }
    UNROLL
    for (int l = 0; l < 4; l++) {
        const NAME(Vector) row0 = *(const NAME(Vector) *)(in + l * in_stride);
        const NAME(Vector) row4 = *(const NAME(Vector) *)(in + (4 + l) * in_stride);
        const NAME(Vector) left01 = LEFT_QUARTERS(row0, row4), right01 = RIGHT_QUARTERS(row0, row4);
#if LANES == 16
        const NAME(Vector) row8 = *(const NAME(Vector) *)(in + (8 + l) * in_stride);
        const NAME(Vector) row12 = *(const NAME(Vector) *)(in + (12 + l) * in_stride);
        const NAME(Vector) left23 = LEFT_QUARTERS(row8, row12), right23 = RIGHT_QUARTERS(row8, row12);
        *(NAME(Vector) *)(out + l * out_stride) = EVEN_QUARTERS(left01, left23);
        *(NAME(Vector) *)(out + (4 + l) * out_stride) = ODD_QUARTERS(left01, left23);
        *(NAME(Vector) *)(out + (8 + l) * out_stride) = EVEN_QUARTERS(right01, right23);
        *(NAME(Vector) *)(out + (12 + l) * out_stride) = ODD_QUARTERS(right01, right23);
#else
        *(NAME(Vector) *)(out + l * out_stride) = left01;
        *(NAME(Vector) *)(out + (4 + l) * out_stride) = right01;
#endif
    }
}

/* Add a run of a tile's output pixels to the window for one lane: those from `from` to before `to`. */
INLINE void NAME(add_run)(const Job *job, const float *sums, ptrdiff_t cell, int lane, ptrdiff_t at,
                          ptrdiff_t from, ptrdiff_t to)
{
    const Window *window = job->window;
    const Tile *tile = &job->workspace->tile;
    float *output = window->sums + 2 * at;
    if (to - from == RUN) {
        UNROLL
        for (int i = 0; i < 2 * RUN; i += LANES)
            *(NAME(Vector) *)&output[i] += *(const NAME(Vector) *)&sums[i];
        if (window->context != NULL) {
            /* The weights are the upper halves of the pairs. */
            const RunPairs weighted = (*(const RunPairs *)sums >> 32) != 0;
            const RunFlags flags = __builtin_convertvector(weighted, RunFlags);
            *(RunFlags *)&window->context[at] |= flags & window->context_bit;
        }
    } else {
        for (ptrdiff_t i = 2 * from; i < 2 * to; i++)
            output[i] += sums[i];
        for (ptrdiff_t i = from; i < to && window->context != NULL; i++)
            window->context[at + i] |= sums[2 * i + 1] != 0.0f ? window->context_bit : 0;
    }
    if (window->variance != NULL) {
        for (ptrdiff_t i = from; i < to; i++)
            window->variance[at + i] += tile->variance[(cell + i) * LANES + lane];
    }
    if (window->quality != NULL) {
        for (ptrdiff_t i = from; i < to; i++)
            window->quality[at + i] |= tile->quality[(cell + i) * LANES + lane];
    }
}

/* Ask for the memory where some rows of the tile will be added, as far as the patch before tells. */
INLINE void NAME(prefetch_output)(const Job *job, ptrdiff_t first_row, ptrdiff_t last_row)
{
    const Tile *tile = &job->workspace->tile;
    const Window *window = job->window;
    for (ptrdiff_t r = first_row; r < last_row; r++) {
        const ptrdiff_t first = tile->expected_first[r], last = tile->expected_last[r];
        for (int l = 0; l < LANES && first < last; l++) {
            const ptrdiff_t row = tile->origin[1][l] + r - window->first_row;
            if (row < 0 || row >= window->rows)
                continue;
            const ptrdiff_t from = tile->origin[0][l] - window->first_column;
            const ptrdiff_t begin = MAX(from + first, 0), end = MIN(from + last + RUN, window->columns);
            const ptrdiff_t at = row * window->columns;
            for (ptrdiff_t column = begin; column < end; column += RUN)
                __builtin_prefetch(window->sums + 2 * (at + column), 0, 2);
            for (ptrdiff_t column = begin; column < end && window->context != NULL; column += 2 * RUN)
                __builtin_prefetch(window->context + at + column, 0, 2);
        }
    }
}

/* Add a run of the tile's row r from column c on to the window, for all lanes, and empty it. */
INLINE void NAME(add_runs)(const Job *job, ptrdiff_t r, ptrdiff_t c)
{
    Tile *tile = &job->workspace->tile;
    const Window *window = job->window;
    const ptrdiff_t cell = r * tile->stride + c;
    float *run = tile->sums + cell * 2 * LANES;
    float *sums = job->workspace->run[0];
    UNROLL
    for (int part = 0; part < 2 * RUN; part += LANES)
        NAME(transpose)(run + part * LANES, LANES, sums + part, 2 * RUN);
    for (int l = 0; l < LANES; l++) {
        const ptrdiff_t row = tile->origin[1][l] + r - window->first_row;
        const ptrdiff_t column = tile->origin[0][l] + c - window->first_column;
        if (row < 0 || row >= window->rows)
            continue;
        const ptrdiff_t at = row * window->columns + column;
        if (column >= 0 && column + RUN <= window->columns)
            NAME(add_run)(job, sums + 2 * RUN * l, cell, l, at, 0, RUN);
        else
            NAME(add_run)(job, sums + 2 * RUN * l, cell, l, at, MAX(0 - column, 0),
                          MIN(window->columns - column, RUN));
    }
    for (int i = 0; i < 2 * RUN; i++)
        *(NAME(Vector) *)&run[i * LANES] = (NAME(Vector)){0.0f};
    if (tile->variance != NULL)
        memset(tile->variance + cell * LANES, 0, RUN * LANES * sizeof(float));
    if (tile->quality != NULL)
        memset(tile->quality + cell * LANES, 0, RUN * LANES * sizeof(int32_t));
}

/* Add the tile to the window, and empty it. */
static __attribute__((noinline)) void NAME(add_tile)(const Job *job)
{
    Tile *tile = &job->workspace->tile;
    const Window *window = job->window;
    for (ptrdiff_t r = 0; r < tile->rows; r++) {
        const ptrdiff_t first = tile->first[r] / RUN * RUN, last = tile->last[r];
        tile->expected_first[r] = (int32_t)MIN(first, last);
        tile->expected_last[r] = (int32_t)last;
        for (ptrdiff_t c = first; c < last; c += RUN)
            NAME(add_runs)(job, r, c);
        for (int l = 0; l < LANES && first < last; l++) {
            const ptrdiff_t row = tile->origin[1][l] + r - window->first_row;
            const ptrdiff_t column = tile->origin[0][l] - window->first_column;
            const ptrdiff_t end = (last + RUN - 1) / RUN * RUN;
            if (row >= 0 && row < window->rows)
                touch(window, row, column + first, column + end);
        }
        tile->first[r] = INT32_MAX;
        tile->last[r] = 0;
    }
    tile->in_use = 0;
}

/* Whether a window holds output pixels from x0 to before x1 and from y0 to before y1. */
INLINE int NAME(holds)(const Window *window, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t y0, ptrdiff_t y1)
{
    return x0 >= window->first_column && x1 <= window->first_column + window->columns
           && y0 >= window->first_row && y1 <= window->first_row + window->rows;
}

/* Lay the empty tile over a patch: its middle over the middles of the lanes' parts. */
INLINE void NAME(lay_tile)(const Job *job, ptrdiff_t first_row)
{
    Workspace *ws = job->workspace;
    Tile *tile = &ws->tile;
    const ptrdiff_t row = MIN(first_row + job->patch_rows / 2, job->chip->rows - 1);
    const ptrdiff_t size[2] = {tile->columns, tile->rows};
    const double units = ldexp(1.0, job->bits);
    for (int l = 0; l < LANES; l++) {
        const ptrdiff_t column = MIN(ws->first_column + l * PART + PART / 2, job->chip->columns - 1);
        double middle[2];
        map_position(job->map, (double)column, (double)row, middle);
        for (int axis = 0; axis < 2; axis++) {
            const int32_t origin = (int32_t)floor(middle[axis]) - (int32_t)(size[axis] / 2);
            tile->origin[axis][l] = origin;
            /* Half a pixel from its centre to its border, and half a unit to round. */
            for (int k = 0; k <= PART; k++)
                ws->shift[axis][k * LANES + l] = (0.5 - (double)origin) * units + 0.5;
        }
    }
    const Window *window = job->window;
    int inside = 1;
    for (int l = 0; l < LANES; l++) {
        const ptrdiff_t x = tile->origin[0][l], y = tile->origin[1][l];
        inside &= NAME(holds)(window, x, x + size[0], y, y + size[1]);
    }
    tile->inside = inside && size[0] > 0;
}

#define ADD_BOXES(SIDE)                                                                                       \
    static __attribute__((noinline)) void NAME(add_boxes_##SIDE)(const Job *job)                               \
    {                                                                                                         \
        NAME(add_boxes)(job, SIDE);                                                                           \
    }
ADD_BOXES(2)
ADD_BOXES(3)
ADD_BOXES(4)
ADD_BOXES(5)
ADD_BOXES(6)
ADD_BOXES(7)
ADD_BOXES(8)
#undef ADD_BOXES

/* Whether any box of the block, of a given side, reaches the window. */
INLINE int NAME(reaches_window)(const Job *job, int side)
{
    const Workspace *ws = job->workspace;
    const Window *window = job->window;
    const int32_t left = (int32_t)window->first_column - side, bottom = (int32_t)window->first_row - side;
    const int32_t right = (int32_t)(window->first_column + window->columns);
    const int32_t top = (int32_t)(window->first_row + window->rows);
    int32_t n = 0;
    for (int k = 0; k < PART; k++) {
        for (int l = 0; l < LANES; l++) {
            const int32_t x = ws->box[0][k * LANES + l] + ws->tile.origin[0][l];
            const int32_t y = ws->box[1][k * LANES + l] + ws->tile.origin[1][l];
            n += (x > left) & (x < right) & (y > bottom) & (y < top);
        }
    }
    return n > 0;
}

/* Add a block whose drops have the given corners, and tell where it lies. */
INLINE Place NAME(add_quadrilaterals)(const Job *job, const int32_t *const corners[2][4])
{
    Workspace *ws = job->workspace;
    const int side = MAX(NAME(place)(ws, job->bits, corners), SMALLEST_BOX);
    if (side > LARGEST_BOX || ws->tile.rows == 0) {
        NAME(add_slowly)(job, 0, BLOCK, NULL);
        return PLACE_CROSSING;
    }
    if (!ws->tile.inside && !NAME(reaches_window)(job, side))
        return PLACE_OUTSIDE;
    switch (side) {
    case 2: NAME(add_boxes_2)(job); break;
    case 3: NAME(add_boxes_3)(job); break;
    case 4: NAME(add_boxes_4)(job); break;
    case 5: NAME(add_boxes_5)(job); break;
    case 6: NAME(add_boxes_6)(job); break;
    case 7: NAME(add_boxes_7)(job); break;
    default: NAME(add_boxes_8)(job); break;
    }
    return ws->tile.inside ? PLACE_INSIDE : PLACE_CROSSING;
}

/* Find the output pixels, in the window, of the block's centres. */
INLINE void NAME(find_centres)(const Job *job)
{
    Workspace *ws = job->workspace;
    const ptrdiff_t origin[2] = {job->window->first_column, job->window->first_row};
    for (int axis = 0; axis < 2; axis++) {
        const int32_t *restrict centre = ws->centres[axis];
        int32_t *restrict box = ws->box[axis];
        for (int k = 0; k < PART; k++) {
            for (int l = 0; l < LANES; l++)
                box[k * LANES + l] = (centre[k * LANES + l] >> job->bits) + ws->tile.origin[axis][l]
                                     - (int32_t)origin[axis];
        }
    }
    for (int p = 0; p < BLOCK; p++) {
        if (abs(ws->centres[0][p]) < (int32_t)LIMIT && abs(ws->centres[1][p]) < (int32_t)LIMIT)
            continue;
        const ptrdiff_t column = MIN(ws->first_column + p % LANES * PART + p / LANES, job->chip->columns - 1);
        double position[2];
        exact_position(job->map, (double)column, (double)ws->row, position);
        for (int axis = 0; axis < 2; axis++)
            ws->box[axis][p] = (int32_t)(floor(position[axis] + 0.5) - (double)origin[axis]);
    }
}

/* Count the weighted pixels of a block whose centres lie in the window. */
INLINE ptrdiff_t NAME(count_inside)(const Job *job)
{
    const Workspace *ws = job->workspace;
    const int32_t columns = (int32_t)job->window->columns, rows = (int32_t)job->window->rows;
    NAME(find_centres)(job);
    int32_t n = 0;
    for (int p = 0; p < BLOCK; p++) {
        const int32_t x = ws->box[0][p], y = ws->box[1][p];
        n += (x >= 0) & (x < columns) & (y >= 0) & (y < rows) & (ws->weight[p] != 0.0f);
    }
    return n;
}

INLINE ptrdiff_t NAME(count_weighted)(const float *weights, ptrdiff_t size)
{
    int32_t n = 0;
    for (ptrdiff_t p = 0; p < size; p++)
        n += weights[p] != 0.0f;
    return n;
}

/* Evaluate the map at the block's pixel centres. */
INLINE void NAME(evaluate_centres)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    NAME(evaluate)(job, &job->middle_row_maps[row], &ws->middle, ws->centres);
}

/* Add a block of a chip row with the square kernel; `*edge` is the chip row whose lower edge is at hand. */
INLINE ptrdiff_t NAME(add_squares)(const Job *job, ptrdiff_t row, ptrdiff_t *edge)
{
    Workspace *ws = job->workspace;
    const RowMap *maps = job->row_maps + row * job->edge_step;
    const int shared = job->edge_step == 1;
    const int lower = shared ? (int)(row & 1) : 0, upper = 1 - lower;
    if (!shared || *edge != row)
        NAME(evaluate_edge)(job, &maps[0], lower);
    NAME(evaluate_edge)(job, &maps[1], upper);
    *edge = row + 1;
    const int32_t *corners[2][4];
    for (int axis = 0; axis < 2; axis++) {
        corners[axis][0] = ws->edges[lower][0][axis];
        corners[axis][1] = shared ? ws->edges[lower][0][axis] + LANES : ws->edges[lower][1][axis];
        corners[axis][2] = shared ? ws->edges[upper][0][axis] + LANES : ws->edges[upper][1][axis];
        corners[axis][3] = ws->edges[upper][0][axis];
    }
    switch (NAME(add_quadrilaterals)(job, corners)) {
    case PLACE_INSIDE: return NAME(count_weighted)(job->workspace->weight, BLOCK);
    case PLACE_OUTSIDE: return 0;
    default: NAME(evaluate_centres)(job, row); return NAME(count_inside)(job);
    }
}

/* Add a block of a chip row with the turbo kernel: upright squares about the pixel centres. */
INLINE ptrdiff_t NAME(add_turbos)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    const int32_t half = (int32_t)MIN(job->drop->half_width * ldexp(1.0, job->bits) + 0.5, LIMIT - 1.0);
    NAME(evaluate_centres)(job, row);
    for (int axis = 0; axis < 2; axis++) {
        for (int k = 0; k < PLACES; k++) {
            ws->edges[0][0][axis][k] = ws->centres[axis][k] - half;
            ws->edges[1][0][axis][k] = ws->centres[axis][k] + half;
        }
    }
    const int32_t *const left = ws->edges[0][0][0], *const right = ws->edges[1][0][0];
    const int32_t *const bottom = ws->edges[0][0][1], *const top = ws->edges[1][0][1];
    const int32_t *const corners[2][4] = {{left, right, right, left}, {bottom, bottom, top, top}};
    switch (NAME(add_quadrilaterals)(job, corners)) {
    case PLACE_INSIDE: return NAME(count_weighted)(job->workspace->weight, BLOCK);
    case PLACE_OUTSIDE: return 0;
    default: return NAME(count_inside)(job);
    }
}

/* Add a block of a chip row with the point kernel: all of a pixel where its centre falls. */
INLINE ptrdiff_t NAME(add_points)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    NAME(evaluate_centres)(job, row);
    NAME(find_centres)(job);
    for (int p = 0; p < BLOCK; p++) {
        if (ws->weight[p] != 0.0f)
            NAME(add_one)(job, p, ws->box[1][p], ws->box[0][p], 1.0f);
    }
    return NAME(count_inside)(job);
}

/* Read the weights and values of `n` pixels of a chip row from pixel `at` on. */
INLINE void NAME(read_row)(const Chip *chip, ptrdiff_t at, const ptrdiff_t n, float *restrict weights,
                           float *restrict values)
{
    const float unit = chip->unit_weight;
    if (chip->mask != NULL) {
        const unsigned char *restrict mask = chip->mask + at;
        for (ptrdiff_t p = 0; p < n; p++)
            weights[p] = mask[p] ? unit : 0.0f;
    } else {
        const float *restrict weight = chip->weight + at;
        for (ptrdiff_t p = 0; p < n; p++)
            weights[p] = weight[p] * unit;
    }
    /* By their bits: compilers take for granted that 0 times a number is 0. */
    const int32_t *restrict science = (const int32_t *)(chip->science + at);
    int32_t *restrict bits = (int32_t *)values;
    for (ptrdiff_t p = 0; p < n; p++)
        bits[p] = weights[p] != 0.0f ? science[p] : 0;
}

/* Work out what the block's pixels add, in the order of places; `n` of its columns are on the chip.  Gives the
 * number of pixels of weight other than 0. */
INLINE ptrdiff_t NAME(load)(const Job *job, ptrdiff_t at, ptrdiff_t n)
{
    const Chip *chip = job->chip;
    Workspace *ws = job->workspace;
    float *restrict weights = ws->row_of[0], *restrict values = ws->row_of[1];
    if (n < BLOCK) {
        memset(weights, 0, BLOCK * sizeof(float));
        memset(values, 0, BLOCK * sizeof(float));
        NAME(read_row)(chip, at, n, weights, values);
    } else {
        NAME(read_row)(chip, at, BLOCK, weights, values);
    }
    int32_t n_weighted = 0;
    for (int p = 0; p < BLOCK; p++)
        n_weighted += weights[p] != 0.0f;
    if (n_weighted == 0)
        return 0;
    for (int p = 0; p < BLOCK; p++)
        values[p] *= weights[p] * chip->factor;
    UNROLL
    for (int part = 0; part < PART; part += LANES) {
        NAME(transpose)(weights + part, PART, ws->weight + part * LANES, LANES);
        NAME(transpose)(values + part, PART, ws->value + part * LANES, LANES);
    }
    if (chip->variance == NULL && chip->quality == NULL)
        return n_weighted;
    for (int p = 0; p < BLOCK; p++) {
        const ptrdiff_t column = p % LANES * PART + p / LANES;
        const int counts = ws->weight[p] != 0.0f;
        const float amplitude = ws->weight[p] * chip->factor;
        ws->variance[p] = 0.0f;
        if (counts && chip->variance != NULL)
            ws->variance[p] = amplitude * amplitude * chip->variance[at + column];
        ws->quality[p] = counts && chip->quality != NULL ? chip->quality[at + column] : 0;
    }
    return n_weighted;
}

INLINE void NAME(prefetch_input)(const Chip *chip, ptrdiff_t row, ptrdiff_t first)
{
    if (row + INPUT_ROWS_AHEAD >= chip->rows)
        return;
    const ptrdiff_t at = (row + INPUT_ROWS_AHEAD) * chip->columns + first;
    for (int p = 0; p < BLOCK && first + p < chip->columns; p += 16) {
        __builtin_prefetch(chip->science + at + p);
        if (chip->mask == NULL)
            __builtin_prefetch(chip->weight + at + p);
    }
    for (int p = 0; p < BLOCK && first + p < chip->columns && chip->mask != NULL; p += 64)
        __builtin_prefetch(chip->mask + at + p);
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
    const ptrdiff_t tile_rows = ws->tile.rows;
    ptrdiff_t n_used = 0;
    for (ptrdiff_t block = 0; block < n_blocks; block++) {
        const ptrdiff_t first = block * BLOCK, n = MIN(chip->columns - first, BLOCK);
        const int shared = job->edge_step == 1;
        ws->first_column = first;
        start_side(job->map, &ws->sides[0], LANES, first, shared ? n : n - 1, -half);
        start_side(job->map, &ws->sides[1], LANES, first, n - 1, half);
        start_side(job->map, &ws->middle, LANES, first, n - 1, 0.0);
        ptrdiff_t edge = -1;
        for (ptrdiff_t row = 0; row < chip->rows; row++) {
            if (row % job->patch_rows == 0) {
                if (ws->tile.in_use)
                    NAME(add_tile)(job);
                if (!job->patches[row / job->patch_rows * n_blocks + block]) {
                    row += job->patch_rows - 1;
                    continue;
                }
                NAME(lay_tile)(job, row);
                edge = -1;
            }
            ws->row = row;
            NAME(prefetch_input)(chip, row, first);
            const ptrdiff_t step = row % job->patch_rows;
            NAME(prefetch_output)(job, step * tile_rows / job->patch_rows,
                                  (step + 1) * tile_rows / job->patch_rows);
            if (NAME(load)(job, row * chip->columns + first, n) == 0)
                continue;
            switch (job->drop->shape) {
            case KERNEL_SQUARE: n_used += NAME(add_squares)(job, row, &edge); break;
            case KERNEL_TURBO: n_used += NAME(add_turbos)(job, row); break;
            case KERNEL_POINT: n_used += NAME(add_points)(job, row); break;
            }
        }
        if (ws->tile.in_use)
            NAME(add_tile)(job);
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

#undef KEEP
#undef CHOOSE
#undef BLOCK
#undef PLACES
