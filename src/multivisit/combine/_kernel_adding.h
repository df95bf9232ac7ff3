/* Adding shares of pixels to the window, for the drizzle kernel; included by _kernel_body.h for each instruction
 * set.
 */

/* Add a share of a pixel, of a column of the block, to an output pixel, which may lie outside the window. */
INLINE void NAME(add_one)(const Job *job, int column_of_block, ptrdiff_t row, ptrdiff_t column, float share)
{
    const Window *window = job->window;
    const Workspace *ws = job->workspace;
    if (row < 0 || row >= window->rows || column < 0 || column >= window->columns)
        return;
    const ptrdiff_t at = row * window->columns + column;
    float *sums = window->sums + 2 * at;
    sums[0] = FUSED_ONE(share, ws->pair[column_of_block][0], sums[0]);
    sums[1] = FUSED_ONE(share, ws->pair[column_of_block][1], sums[1]);
    if (window->context != NULL)
        window->context[at] |= window->context_bit;
    if (window->variance != NULL)
        window->variance[at] = FUSED_ONE(share * share, ws->variance[column_of_block], window->variance[at]);
    if (window->quality != NULL)
        window->quality[at] |= ws->quality[column_of_block];
}

/* Add the pixels of one place to the window one by one: those that lie as no box holds them. */
static __attribute__((noinline)) void NAME(add_slowly)(const Job *job, int k)
{
    const Workspace *ws = job->workspace;
    const Window *window = job->window;
    const ptrdiff_t origin[2] = {window->first_column, window->first_row};
    const ptrdiff_t size[2] = {window->columns, window->rows};
    for (int lane = 0; lane < LANES; lane++) {
        const int of_block = lane * PART + k;
        if (ws->pair[of_block][1] == 0.0f)
            continue;
        double corner[2][4];
        drop_corners(job->map, job->drop, (double)(ws->first_column + of_block), (double)ws->row, corner);
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
                if (share > SMALLEST_EXACT_SHARE)
                    NAME(add_one)(job, of_block, y, x, share);
            }
        }
    }
}

/* Add the spread shares of the pixel in a slot to the sums that begin at `sums`, in rows `stride` bytes apart. */
INLINE void NAME(add_sums)(char *sums, ptrdiff_t stride, const Workspace *ws, int k, int slot, int of_block,
                           const int side)
{
    int64_t bits;
    memcpy(&bits, ws->pair[of_block], sizeof bits);
    UNROLL
    for (int b = 0; b < side; b++) {
        char *row = sums + b * stride;
        if (side == 2) {
            const Four twice = *(const Four *)(ws->twice[k % 2][b][0][0] + 4 * slot);
            *(Four *)row = FUSED_FOUR(twice, PAIR_TWICE(bits), *(Four *)row);
            continue;
        }
        UNROLL
        for (int q = 0; 4 * q < side; q++)
            ADD_EIGHT((float *)(row + 32 * q), ws->twice[k % 2][b][q][slot], bits);
    }
}

/* Add the spread shares of the pixel in a slot to the planes other than the sums, from output pixel `at` on. */
INLINE void NAME(add_planes)(const Window *window, ptrdiff_t at, const Workspace *ws, int k, int slot, int of_block,
                             const int side, const Planes planes)
{
    if (ws->pair[of_block][1] == 0.0f)
        return;
    UNROLL
    for (int b = 0; b < side; b++) {
        UNROLL
        for (int q = 0; 4 * q < side; q++) {
            const ptrdiff_t here = at + b * window->columns + 4 * q;
            if (planes == PLANES_CONTEXT || window->context != NULL)
                *(FourFlags *)&window->context[here] |= *(const FourFlags *)ws->bits[k % 2][b][q][slot];
            if (planes == PLANES_CONTEXT)
                continue;
            const Four share = *(const Four *)ws->once[k % 2][b][q][slot];
            if (window->variance != NULL)
                *(Four *)&window->variance[here] = FUSED_FOUR(
                    share * share, (Four){0.0f} + ws->variance[of_block], *(Four *)&window->variance[here]);
            if (window->quality != NULL)
                *(FourFlags *)&window->quality[here] |= (share > 0.0f) & ws->quality[of_block];
        }
    }
}

/* Whether to ask for memory ahead of a vector of pixels: every second pixel tells enough, but where chip rows climb
 * over many rows of fine output pixels. */
INLINE int NAME(asks_ahead)(const Workspace *ws, int k, const int side)
{
    return k % 2 == 0 || (side > 2 && ws->climbs);
}

/* Add the spread shares of a vector of pixels, all of whose boxes lie in the window. */
INLINE void NAME(add_inside)(const Job *job, int k, const int side, const Planes planes)
{
    const Workspace *ws = job->workspace;
    const Window *window = job->window;
    const ptrdiff_t anchor = ws->anchor, stride = 8 * window->columns;
    char *sums = (char *)window->sums + 8 * anchor;
    if (NAME(asks_ahead)(ws, k, side)) {
        const char *ahead = sums + 8 * ws->ahead;
        UNROLL
        for (int lane = 0; lane < LANES; lane++)
            __builtin_prefetch(ahead + 8 * (ptrdiff_t)ws->at[k % 2][lane], 1, 2);
        for (int b = 1; b < side - 2; b++) {
            for (int lane = 0; lane < LANES; lane++)
                __builtin_prefetch(ahead + b * stride + 8 * (ptrdiff_t)ws->at[k % 2][lane], 1, 2);
        }
        for (int lane = 0; lane < LANES && planes != PLANES_NONE && window->context != NULL; lane++)
            __builtin_prefetch(window->context + anchor + ws->ahead + ws->at[k % 2][lane], 1, 2);
    }
    /* Two loops, so that both are unrolled wholly: a single one of LANES slots is 12 % slower. */
    UNROLL
    for (int j = 0; j < 4; j++) {
        UNROLL
        for (int m = 0; m < LANES / 4; m++) {
            const int lane = 4 * m + j, slot = j * (LANES / 4) + m;
            const ptrdiff_t at = ws->at[k % 2][lane];
            NAME(add_sums)(sums + 8 * at, stride, ws, k, slot, lane * PART + k, side);
            if (planes != PLANES_NONE)
                NAME(add_planes)(window, anchor + at, ws, k, slot, lane * PART + k, side, planes);
        }
    }
}

/* Find where the boxes of a vector of drops, of a given side, lie in the window; tells whether any reaches it. */
INLINE int NAME(find_reach)(const Job *job, int side)
{
    Workspace *ws = job->workspace;
    const Window *window = job->window;
    const int32_t width = (side + 3) / 4 * 4; /* columns that are added to at once */
    const NAME(Flags) zero = {0};
    const NAME(Flags) x = *(const NAME(Flags) *)ws->box[0] + *(const NAME(Flags) *)ws->origin[0]
                          - (int32_t)window->first_column;
    const NAME(Flags) y = *(const NAME(Flags) *)ws->box[1] + *(const NAME(Flags) *)ws->origin[1]
                          - (int32_t)window->first_row;
    const NAME(Flags) columns = zero + (int32_t)window->columns, rows = zero + (int32_t)window->rows;
    const NAME(Flags) reaching = (x > -side) & (x < columns) & (y > -side) & (y < rows);
    const NAME(Flags) inside = (x >= 0) & (x + width <= columns) & (y >= 0) & (y + side <= rows);
    *(NAME(Flags) *)ws->window_box[0] = x;
    *(NAME(Flags) *)ws->window_box[1] = y;
    *(NAME(Flags) *)ws->reach = -reaching - inside; /* of the order of REACH_..., since inside boxes reach it */
    return ANY(reaching);
}

/* Add the spread shares of a vector of pixels whose boxes may reach beyond the window. */
INLINE void NAME(add_crossing)(const Job *job, int k, const int side, const Planes planes)
{
    const Window *window = job->window;
    const Workspace *ws = job->workspace;
    for (int lane = 0; lane < LANES && NAME(asks_ahead)(ws, k, side); lane++) {
        const ptrdiff_t at = (ptrdiff_t)ws->window_box[1][lane] * window->columns + ws->window_box[0][lane];
        if (ws->reach[lane] == REACH_INSIDE)
            __builtin_prefetch((const char *)window->sums + 8 * (at + ws->ahead), 1, 2);
    }
    for (int slot = 0; slot < LANES; slot++) {
        const int lane = LANE_OF(slot), of_block = lane * PART + k;
        const ptrdiff_t column = ws->window_box[0][lane], row = ws->window_box[1][lane];
        if (ws->reach[lane] == REACH_INSIDE) {
            const ptrdiff_t at = row * window->columns + column;
            NAME(add_sums)((char *)(window->sums + 2 * at), 8 * window->columns, ws, k, slot, of_block, side);
            if (planes != PLANES_NONE)
                NAME(add_planes)(window, at, ws, k, slot, of_block, side, planes);
        } else if (ws->reach[lane] == REACH_CROSSING && ws->pair[of_block][1] != 0.0f) {
            for (int b = 0; b < side; b++) {
                for (int a = 0; a < side; a++) {
                    const float *twice = side == 2 ? ws->twice[k % 2][b][0][0] + 4 * slot
                                                   : ws->twice[k % 2][b][a / 4][slot];
                    const float share = twice[2 * (a % 4)];
                    if (share > 0.0f)
                        NAME(add_one)(job, of_block, row + b, column + a, share);
                }
            }
        }
    }
}
