/* The drizzle kernel's loops over pixels; included by _kernel.c once for each instruction set.
 *
 * The including file defines NAME(function), which gives each build its own names, LANES, the numbers in a
 * vector, and operations on vectors, most of which are taken back at the end.
 *
 * A pixel's shares do not depend on the window: blocks and patches begin at fixed chip columns and rows, and
 * their arithmetic is the same wherever the window ends.  Nor does the order in which an output pixel receives
 * them: block after block, row after row, place after place.  So the sums of an output pixel have the same bits
 * in any window that holds it.
 */

/* Neighbouring pixels of a chip row that a lane works on, and positions of the sides of a block's pixels. */
#define PART (BLOCK / LANES)
#define PLACES (BLOCK + LANES)

#include "_kernel_shares.h"
#include "_kernel_map.h"
#include "_kernel_adding.h"

/* Tell the column of a block at which a lane's pixel stands, for a place. */
#define COLUMN_OF(place) ((place) % LANES * PART + (place) / LANES)

/* Place a vector of drops, whose corners are given, in boxes, where the lowest of all corners along each axis are
 * known. */
INLINE void NAME(place_in_boxes)(Workspace *ws, const int bits, const int32_t *const corners[2][4],
                                 const Slopes *const slopes[4], int k, const NAME(Flags) lowest[2],
                                 NAME(Drops) *drops)
{
    UNROLL
    for (int e = 0; e < 4; e++)
        drops->slopes[e] = &slopes[e][k];
    UNROLL
    for (int axis = 0; axis < 2; axis++) {
        NAME(Vector) *relative = axis == 0 ? drops->x : drops->y;
        const NAME(Flags) first = lowest[axis] >> bits;
        const NAME(Flags) p0 = *(const NAME(Flags) *)(corners[axis][0] + k * LANES);
        UNROLL
        for (int c = 1; c < 4; c++) {
            const NAME(Flags) p = *(const NAME(Flags) *)(corners[axis][c] + k * LANES);
            relative[c - 1] = __builtin_convertvector(DIFFERENCE(p, p0), NAME(Vector));
        }
        *(axis == 0 ? &drops->border_x : &drops->border_y) =
            __builtin_convertvector(DIFFERENCE((NAME(Wrapping))(first + 1) << bits, p0), NAME(Vector));
        *(NAME(Flags) *)ws->box[axis] = first;
    }
}

/* Place a vector of drops, whose corners are given, in boxes; gives the most output pixels that one needs along
 * an axis, less one, as a vector. */
INLINE NAME(Flags) NAME(place_drops)(Workspace *ws, const int bits, const int32_t *const corners[2][4],
                                     const Slopes *const slopes[4], int k, NAME(Drops) *drops)
{
    NAME(Flags) widest = {0}, lowest[2];
    UNROLL
    for (int axis = 0; axis < 2; axis++) {
        NAME(Flags) high = *(const NAME(Flags) *)(corners[axis][0] + k * LANES);
        lowest[axis] = high;
        UNROLL
        for (int c = 1; c < 4; c++) {
            const NAME(Flags) p = *(const NAME(Flags) *)(corners[axis][c] + k * LANES);
            lowest[axis] = SMALLER(lowest[axis], p);
            high = LARGER(high, p);
        }
        widest = LARGER(widest, (high >> bits) - (lowest[axis] >> bits));
    }
    NAME(place_in_boxes)(ws, bits, corners, slopes, k, lowest, drops);
    return widest;
}

/* Place a vector of drops that lie alike. */
INLINE void NAME(place_alike)(const Job *job, const int32_t *const corners[2][4], const Slopes *const slopes[4],
                              int k, NAME(Drops) *drops)
{
    NAME(Flags) lowest[2];
    UNROLL
    for (int axis = 0; axis < 2; axis++) {
        const int edge = job->lowest_edge[axis];
        lowest[axis] = SMALLER(*(const NAME(Flags) *)(corners[axis][edge] + k * LANES),
                               *(const NAME(Flags) *)(corners[axis][(edge + 1) % 4] + k * LANES));
    }
    NAME(place_in_boxes)(job->workspace, job->bits, corners, slopes, k, lowest, drops);
}

/* Find the shares of a vector of drops in boxes of a given side, and where in the window the boxes begin if they
 * lie in it. */
INLINE void NAME(share_out)(const Job *job, int k, const NAME(Drops) *drops, const int side, const Planes planes)
{
    Workspace *ws = job->workspace;
    NAME(Vector) share[LARGEST_BOX * LARGEST_BOX];
    const NAME(Flags) columns = (NAME(Flags)){0} + (int32_t)job->window->columns;
    if (ws->inside)
        *(NAME(Flags) *)ws->at[k % 2] = *(const NAME(Flags) *)ws->box[1] * columns + *(const NAME(Flags) *)ws->box[0]
                                        + *(const NAME(Flags) *)ws->lane_at;
    NAME(find_shares)(drops, (float)(1 << job->bits), side, share);
    NAME(spread_shares)(ws, k % 2, side, share, planes, job->window->context_bit);
}

/* Add a vector of drops in boxes of whatever side they need, but no less than most of the chip's. */
static __attribute__((noinline)) void NAME(add_any)(const Job *job, int k, const NAME(Drops) *drops)
{
    const Workspace *ws = job->workspace;
    int side = job->side;
    for (int l = 0; l < LANES; l++)
        side = MAX(side, ws->widest[l] + 1);
    if (side > LARGEST_BOX) {
        NAME(add_slowly)(job, k);
        return;
    }
    NAME(share_out)(job, k, drops, side, PLANES_ANY);
    if (ws->inside)
        NAME(add_inside)(job, k, side, PLANES_ANY);
    else if (NAME(find_reach)(job, side))
        NAME(add_crossing)(job, k, side, PLANES_ANY);
}

/* Add a block, whose patch lies in the window, of drops that lie alike in boxes of a given side.
 *
 * Pixels are added while the shares of the next ones are worked out: one waits for memory, the other computes.
 */
INLINE void NAME(add_alike)(const Job *job, const int32_t *const corners[2][4], const Slopes *const slopes[4],
                            const int side, const Planes planes)
{
    for (int k = 0; k <= PART; k++) {
        NAME(Drops) drops;
        if (k < PART) {
            NAME(place_alike)(job, corners, slopes, k, &drops);
            NAME(share_out)(job, k, &drops, side, planes);
        }
        if (k > 0)
            NAME(add_inside)(job, k - 1, side, planes);
    }
}

/* Add a block, whose patch may reach beyond the window, of drops that lie alike in boxes of a given side. */
INLINE void NAME(add_alike_crossing)(const Job *job, const int32_t *const corners[2][4],
                                    const Slopes *const slopes[4], const int side, const Planes planes)
{
    for (int k = 0; k < PART; k++) {
        NAME(Drops) drops;
        NAME(place_alike)(job, corners, slopes, k, &drops);
        if (!NAME(find_reach)(job, side))
            continue;
        NAME(share_out)(job, k, &drops, side, planes);
        NAME(add_crossing)(job, k, side, planes);
    }
}

/* Add a block of any drops. */
static __attribute__((noinline)) void NAME(add_boxes)(const Job *job, const int32_t *const corners[2][4],
                                                     const Slopes *const slopes[4])
{
    Workspace *ws = job->workspace;
    for (int k = 0; k < PART; k++) {
        NAME(Drops) drops;
        const NAME(Flags) widest = NAME(place_drops)(ws, job->bits, corners, slopes, k, &drops);
        if (!ANY(widest >= LARGEST_BOX) && !NAME(find_reach)(job, LARGEST_BOX))
            continue;
        *(NAME(Flags) *)ws->widest = widest;
        NAME(add_any)(job, k, &drops);
    }
}

/* Boxes of 2 and 3 output pixels are the usual ones; the side of others is known when the kernel runs. */
#define BUILD_FOR(FUNCTION, NUMBER, SIDE, PLANES)                                                             \
    static __attribute__((noinline)) void NAME(FUNCTION##_##NUMBER##_##PLANES)(                                \
        const Job *job, const int32_t *const corners[2][4], const Slopes *const slopes[4])                    \
    {                                                                                                         \
        NAME(FUNCTION)(job, corners, slopes, SIDE, PLANES);                                                   \
    }
#define BUILD_FOR_SIDES(FUNCTION, PLANES)                                                                     \
    BUILD_FOR(FUNCTION, two, 2, PLANES)                                                                       \
    BUILD_FOR(FUNCTION, three, 3, PLANES)                                                                     \
    BUILD_FOR(FUNCTION, more, job->side, PLANES)
BUILD_FOR_SIDES(add_alike, PLANES_NONE)
BUILD_FOR_SIDES(add_alike, PLANES_ANY)
BUILD_FOR_SIDES(add_alike_crossing, PLANES_NONE)
BUILD_FOR_SIDES(add_alike_crossing, PLANES_ANY)
BUILD_FOR(add_alike, two, 2, PLANES_CONTEXT)
BUILD_FOR(add_alike, three, 3, PLANES_CONTEXT)
#undef BUILD_FOR_SIDES
#undef BUILD_FOR

/* Add a block whose drops have the given corners, lower left, lower right, upper right and upper left on the
 * chip.  The slopes of the edges in row `lower` may be known; drops may share their edges with their neighbours. */
INLINE void NAME(add_quadrilaterals)(const Job *job, const int32_t *const corners[2][4], int lower, int lower_known,
                                     const int shared)
{
    Workspace *ws = job->workspace;
    const Window *window = job->window;
    const int32_t *const corner[4][2] = {{corners[0][0], corners[1][0]}, {corners[0][1], corners[1][1]},
                                         {corners[0][2], corners[1][2]}, {corners[0][3], corners[1][3]}};
    if (!lower_known)
        NAME(find_slopes)(corner[0], corner[1], PART, ws->along[lower]);
    NAME(find_slopes)(corner[3], corner[2], PART, ws->along[1 - lower]);
    NAME(find_slopes)(corner[0], corner[3], shared ? PART + 1 : PART, ws->across[0]);
    if (!shared)
        NAME(find_slopes)(corner[1], corner[2], PART, ws->across[1]);
    const Slopes *const slopes[4] = {ws->along[lower], shared ? ws->across[0] + 1 : ws->across[1],
                                     ws->along[1 - lower], ws->across[0]};
    if (!job->alike) {
        NAME(add_boxes)(job, corners, slopes);
        return;
    }
    static void (*const add[3][3])(const Job *, const int32_t *const[2][4], const Slopes *const[4]) = {
        {NAME(add_alike_two_PLANES_NONE), NAME(add_alike_two_PLANES_CONTEXT), NAME(add_alike_two_PLANES_ANY)},
        {NAME(add_alike_three_PLANES_NONE), NAME(add_alike_three_PLANES_CONTEXT), NAME(add_alike_three_PLANES_ANY)},
        {NAME(add_alike_more_PLANES_NONE), NAME(add_alike_more_PLANES_ANY), NAME(add_alike_more_PLANES_ANY)},
    };
    static void (*const add_crossing[3][2])(const Job *, const int32_t *const[2][4], const Slopes *const[4]) = {
        {NAME(add_alike_crossing_two_PLANES_NONE), NAME(add_alike_crossing_two_PLANES_ANY)},
        {NAME(add_alike_crossing_three_PLANES_NONE), NAME(add_alike_crossing_three_PLANES_ANY)},
        {NAME(add_alike_crossing_more_PLANES_NONE), NAME(add_alike_crossing_more_PLANES_ANY)},
    };
    const Planes planes = window->variance != NULL || window->quality != NULL ? PLANES_ANY
                          : window->context != NULL                            ? PLANES_CONTEXT
                                                                               : PLANES_NONE;
    const int size = MIN(job->side - 2, 2);
    if (ws->inside)
        add[size][planes](job, corners, slopes);
    else
        add_crossing[size][planes != PLANES_NONE](job, corners, slopes);
}

/* Add all pixels of a block one by one. */
INLINE void NAME(add_all_slowly)(const Job *job)
{
    for (int k = 0; k < PART; k++)
        NAME(add_slowly)(job, k);
}

/* Find the output pixels, in the window, of the centres of a block of a chip row. */
INLINE void NAME(find_centres)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    const int32_t origin[2] = {(int32_t)job->window->first_column, (int32_t)job->window->first_row};
    if (ws->expansion.within) {
        NAME(evaluate_centres)(job, row);
        for (int axis = 0; axis < 2; axis++) {
            for (int k = 0; k < PART; k++) {
                for (int l = 0; l < LANES; l++)
                    ws->centre_pixel[axis][k * LANES + l] =
                        (ws->centres[axis][k * LANES + l] >> job->bits) + ws->origin[axis][l] - origin[axis];
            }
        }
        return;
    }
    for (int p = 0; p < BLOCK; p++) {
        const ptrdiff_t column = MIN(ws->first_column + COLUMN_OF(p), job->chip->columns - 1);
        double position[2];
        exact_position(job->map, (double)column, (double)row, position);
        for (int axis = 0; axis < 2; axis++)
            ws->centre_pixel[axis][p] = (int32_t)(floor(position[axis] + 0.5) - (double)origin[axis]);
    }
}

/* Count the weighted pixels of a block whose centres, which have been found, lie in the window. */
INLINE ptrdiff_t NAME(count_inside)(const Job *job)
{
    const Workspace *ws = job->workspace;
    const int32_t columns = (int32_t)job->window->columns, rows = (int32_t)job->window->rows;
    int32_t n = 0;
    for (int k = 0; k < PART; k++) {
        for (int l = 0; l < LANES; l++) {
            const int32_t x = ws->centre_pixel[0][k * LANES + l], y = ws->centre_pixel[1][k * LANES + l];
            n += (x >= 0) & (x < columns) & (y >= 0) & (y < rows) & (ws->weight[l * PART + k] != 0.0f);
        }
    }
    return n;
}

/* Add a block of a chip row with the square kernel; `*edge` is the chip row whose lower edge is at hand. */
INLINE void NAME(add_squares)(const Job *job, ptrdiff_t row, ptrdiff_t *edge)
{
    Workspace *ws = job->workspace;
    const int shared = job->shared_edges, lower = shared ? (int)(row & 1) : 0, upper = 1 - lower;
    const int lower_known = shared && *edge == row;
    if (!lower_known)
        NAME(evaluate_edge)(job, row, 0, ws->edges[lower]);
    NAME(evaluate_edge)(job, row, 1, ws->edges[upper]);
    *edge = row + 1;
    const int32_t *corners[2][4];
    for (int axis = 0; axis < 2; axis++) {
        corners[axis][0] = ws->edges[lower][0][axis];
        corners[axis][1] = shared ? ws->edges[lower][0][axis] + LANES : ws->edges[lower][1][axis];
        corners[axis][2] = shared ? ws->edges[upper][0][axis] + LANES : ws->edges[upper][1][axis];
        corners[axis][3] = ws->edges[upper][0][axis];
    }
    NAME(add_quadrilaterals)(job, corners, lower, lower_known, shared);
}

/* Add a block of a chip row with the turbo kernel: upright squares about the pixel centres. */
INLINE void NAME(add_turbos)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    const int32_t half = (int32_t)(job->drop->half_width * ldexp(1.0, job->bits) + 0.5);
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
    NAME(add_quadrilaterals)(job, corners, 0, 0, 0);
}

/* Add a block of a chip row with the point kernel: all of a pixel where its centre, which has been found, falls. */
INLINE void NAME(add_points)(const Job *job)
{
    const Workspace *ws = job->workspace;
    for (int p = 0; p < BLOCK; p++) {
        const int of_block = COLUMN_OF(p);
        if (ws->weight[of_block] != 0.0f)
            NAME(add_one)(job, of_block, ws->centre_pixel[1][p], ws->centre_pixel[0][p], 1.0f);
    }
}

/* Add a block of a chip row with some weighted pixels; gives the number of those whose centres lie in the window. */
INLINE ptrdiff_t NAME(add_row)(const Job *job, ptrdiff_t row, ptrdiff_t n_weighted, ptrdiff_t *edge)
{
    const Workspace *ws = job->workspace;
    if (job->drop->shape == KERNEL_POINT) {
        NAME(find_centres)(job, row);
        NAME(add_points)(job);
        return NAME(count_inside)(job);
    }
    if (!ws->expansion.within)
        NAME(add_all_slowly)(job);
    else if (job->drop->shape == KERNEL_SQUARE)
        NAME(add_squares)(job, row, edge);
    else
        NAME(add_turbos)(job, row);
    if (ws->inside)
        return n_weighted;
    NAME(find_centres)(job, row);
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
    const FloatBits *restrict science = (const FloatBits *)(chip->science + at);
    FloatBits *restrict bits = (FloatBits *)values;
    for (ptrdiff_t p = 0; p < n; p++)
        bits[p] = weights[p] != 0.0f ? science[p] : 0;
}

/* Work out what the block's pixels add; `n` of its columns are on the chip.  Gives the number of pixels of
 * weight other than 0. */
INLINE ptrdiff_t NAME(load)(const Job *job, ptrdiff_t at, ptrdiff_t n)
{
    const Chip *chip = job->chip;
    Workspace *ws = job->workspace;
    float *restrict weights = ws->weight, *restrict values = ws->value, *restrict pairs = ws->pair[0];
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
    for (int p = 0; p < BLOCK; p++) {
        pairs[2 * p] = values[p] * (weights[p] * chip->factor);
        pairs[2 * p + 1] = weights[p];
    }
    for (int p = 0; p < n && chip->variance != NULL; p++) {
        const float amplitude = weights[p] * chip->factor;
        ws->variance[p] = weights[p] != 0.0f ? amplitude * amplitude * chip->variance[at + p] : 0.0f;
    }
    for (int p = 0; p < n && chip->quality != NULL; p++)
        ws->quality[p] = weights[p] != 0.0f ? chip->quality[at + p] : 0;
    return n_weighted;
}

/* Begin a patch: expand the map about the middles of the lanes' parts, and find where the lanes' sums begin. */
INLINE void NAME(begin_patch)(const Job *job, ptrdiff_t patch_row, Place place)
{
    Workspace *ws = job->workspace;
    const Window *window = job->window;
    ws->middle_row = middle_of_patch(job->chip, patch_row);
    NAME(expand_patch)(job, patch_row);
    const double pixel = ldexp(1.0, job->bits);
    ws->climbs = fabs(ws->expansion.terms[1][1][0][0]) > 0.25 * pixel;
    ptrdiff_t ahead[2];
    for (int axis = 0; axis < 2; axis++) {
        const double distance = OUTPUT_ROWS_AHEAD * ws->expansion.terms[axis][0][1][0] / pixel;
        ahead[axis] = (ptrdiff_t)MIN(MAX(rint(distance + 1.0), -1e6), 1e6); /* to the middle of a box */
    }
    ws->ahead = ahead[1] * window->columns + ahead[0];
    ws->inside = place == PLACE_INSIDE;
    if (!ws->inside)
        return;
    for (int l = 0; l < LANES; l++)
        ws->lane_at[l] = (int32_t)((ws->origin[1][l] - ws->origin[1][0]) * window->columns)
                         + ws->origin[0][l] - ws->origin[0][0];
    ws->anchor = (ws->origin[1][0] - window->first_row) * window->columns + ws->origin[0][0] - window->first_column;
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
    const ptrdiff_t n_blocks = block_count(chip);
    const double half = job->drop->half_width;
    ptrdiff_t n_used = 0;
    for (ptrdiff_t block = 0; block < n_blocks; block++) {
        const ptrdiff_t first = block * BLOCK, n = MIN(chip->columns - first, BLOCK);
        ws->first_column = first;
        for (int l = 0; l < LANES; l++) {
            ws->middle_column[l] = MIN(first + l * PART + PART / 2, chip->columns - 1);
            ws->middle_argument[l] = ((double)ws->middle_column[l] - job->map->centre[0]) / job->map->half_size[0];
        }
        start_side(job->map, ws, &ws->sides[0], LANES, job->shared_edges ? n : n - 1, -half);
        start_side(job->map, ws, &ws->sides[1], LANES, n - 1, half);
        start_side(job->map, ws, &ws->middle, LANES, n - 1, 0.0);
        ptrdiff_t edge = -1;
        for (ptrdiff_t row = 0; row < chip->rows; row++) {
            if (row % PATCH_ROWS == 0) {
                const Place place = (Place)job->patches[row / PATCH_ROWS * n_blocks + block];
                if (place == PLACE_OUTSIDE) {
                    row += PATCH_ROWS - 1;
                    continue;
                }
                NAME(begin_patch)(job, row / PATCH_ROWS, place);
                edge = -1;
            }
            ws->row = row;
            NAME(prefetch_input)(chip, row, first);
            const ptrdiff_t n_weighted = NAME(load)(job, row * chip->columns + first, n);
            if (n_weighted > 0)
                n_used += NAME(add_row)(job, row, n_weighted, &edge);
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

#undef COLUMN_OF
#undef PART
#undef PLACES
#undef WITH_SIGN
#undef SIGN_OF
#undef ABSOLUTE
#undef ALL
#undef NAME
#undef LANES
#undef CHOOSE
#undef SMALLER
#undef LARGER
#undef MINIMUM
#undef MAXIMUM
#undef FUSED
#undef FUSED_AWAY
#undef FUSED_DOUBLES
#undef RECIPROCAL
#undef IF_NEGATIVE
#undef KEPT_ABOVE
#undef ANY
#undef JOINED
