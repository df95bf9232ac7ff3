/* Shares of drops in boxes of output pixels, for the drizzle kernel; included by _kernel_body.h for each
 * instruction set.
 */

typedef float NAME(Vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t NAME(Flags) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t NAME(Wrapping) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define WITH_SIGN(v, sign) ((NAME(Vector))((NAME(Flags))(v) ^ (sign)))
#define SIGN_OF(v) ((NAME(Flags))(v) & INT32_MIN)
#define ABSOLUTE(v) ((NAME(Vector))((NAME(Flags))(v) & INT32_MAX))
#define ALL(number) ((NAME(Vector)){0.0f} + (number))

/* One step of Newton's method towards 1 / v. */
INLINE NAME(Vector) NAME(improved_reciprocal)(NAME(Vector) v, NAME(Vector) reciprocal)
{
    return reciprocal * FUSED_AWAY(v, reciprocal, ALL(2.0f));
}

/* Whether any number of a vector is not 0. */
INLINE int NAME(any)(NAME(Flags) v)
{
    int32_t any = 0;
    for (int l = 0; l < LANES; l++)
        any |= v[l];
    return any != 0;
}

/* A vector of drops: corners 1 to 3 and the first borders between output pixels in the box, all relative to
 * corner 0, in small units, and the slopes of the lower, right, upper and left edges, from left to right or from
 * below on the chip. */
typedef struct {
    NAME(Vector) x[3], y[3];
    NAME(Vector) border_x, border_y;
    const Slopes *slopes[4];
} NAME(Drops);

/* Find the slopes of the edges from some corners of drops to others, at n places. */
INLINE void NAME(find_slopes)(const int32_t *const from[2], const int32_t *const to[2], int n, Slopes *slopes)
{
    for (int k = 0; k < n; k++) {
        NAME(Vector) size[2];
        UNROLL
        for (int axis = 0; axis < 2; axis++) {
            const NAME(Flags) begin = *(const NAME(Flags) *)(from[axis] + k * LANES);
            const NAME(Flags) end = *(const NAME(Flags) *)(to[axis] + k * LANES);
            size[axis] = __builtin_convertvector(DIFFERENCE(end, begin), NAME(Vector));
        }
        const NAME(Flags) leftwards = SIGN_OF(size[0]);
        const NAME(Vector) width = ABSOLUTE(size[0]), rise = WITH_SIGN(size[1], leftwards);
        /* One division for the slope and its inverse; the limits only guard it. */
        const NAME(Vector) run = MAXIMUM(width, ALL(SMALLEST_STEP));
        const NAME(Vector) climb = MAXIMUM(ABSOLUTE(rise), ALL(SMALLEST_STEP));
        const NAME(Vector) inverse = RECIPROCAL(run * climb);
        *(NAME(Vector) *)slopes[k].width = width;
        *(NAME(Vector) *)slopes[k].steepness = climb * (climb * inverse);
        *(NAME(Vector) *)slopes[k].run_per_climb = run * (run * inverse);
        *(NAME(Vector) *)slopes[k].upwards = WITH_SIGN(ALL(1.0f), SIGN_OF(rise));
        *(NAME(Flags) *)slopes[k].leftwards = leftwards;
    }
}

/* Work out the shares of a vector of drops in boxes of side x side output pixels, share[row * side + column].
 *
 * Of the areas of a drop left of a border between output pixels and above another, which are integrals along its
 * edges (Green), the differences are the areas in the output pixels.  Here above[b][a] is the area left of border
 * a and above border b, from the integral of max(y - border b, 0) dx over the part of each edge left of border a,
 * and strip[a] is the area left of border a; the last a stands for everything.
 *
 * Heights above a border are taken in steps along x: those in which the edge rises or falls as much.  So the
 * part of an edge above a border is as wide as its higher end is high, unless all of it is above.
 */
INLINE void NAME(find_shares)(const NAME(Drops) *drops, const float unit, const int side, NAME(Vector) *share)
{
    const NAME(Vector) zero = ALL(0.0f), *x = drops->x, *y = drops->y;
    /* The integral of y dx: negative for a drop that is not mirrored; a drop without area has no shares. */
    const NAME(Vector) total = FUSED_AWAY(x[1], y[2] - y[0], (x[2] - x[0]) * y[1]);
    const NAME(Vector) size = MAXIMUM(ABSOLUTE(total), ALL(SMALLEST_AREA));
    const NAME(Vector) inverse = KEPT_ABOVE(WITH_SIGN(RECIPROCAL(size), SIGN_OF(total)), ABSOLUTE(total),
                                            ALL(SMALLEST_AREA));
    /* The ends of the edges: lower, right, upper and left, the last two against their slopes' directions. */
    const NAME(Vector) from_x[4] = {zero, x[0], x[2], zero}, from_y[4] = {zero, y[0], y[2], zero};
    const NAME(Vector) to_x[4] = {x[0], x[1], x[1], x[2]}, to_y[4] = {y[0], y[1], y[1], y[2]};
    NAME(Vector) left_x[4], left_y[4], width[4], slope[4], upwards[4], half[4], half_steepness[4];
    NAME(Vector) start[4][LARGEST_BOX - 1], start_above[4][LARGEST_BOX - 1], half_above[4][LARGEST_BOX - 1];
    UNROLL
    for (int e = 0; e < 4; e++) {
        const Slopes *slopes = drops->slopes[e];
        const NAME(Flags) leftwards = *(const NAME(Flags) *)slopes->leftwards;
        const NAME(Vector) steepness = *(const NAME(Vector) *)slopes->steepness;
        const NAME(Vector) run_per_climb = *(const NAME(Vector) *)slopes->run_per_climb;
        left_x[e] = MINIMUM(from_x[e], to_x[e]);
        left_y[e] = IF_NEGATIVE(leftwards, to_y[e], from_y[e]);
        width[e] = *(const NAME(Vector) *)slopes->width;
        upwards[e] = *(const NAME(Vector) *)slopes->upwards;
        slope[e] = steepness * upwards[e];
        half[e] = WITH_SIGN(inverse, leftwards ^ (e < 2 ? 0 : INT32_MIN));
        half_steepness[e] = half[e] * steepness;
        UNROLL
        for (int b = 0; b < side - 1; b++) {
            const NAME(Vector) border = drops->border_y + (float)b * unit;
            start[e][b] = (left_y[e] - border) * run_per_climb;
            start_above[e][b] = MAXIMUM(start[e][b], zero);
            half_above[e][b] = half_steepness[e] * start_above[e][b];
        }
    }
    NAME(Vector) above[LARGEST_BOX - 1][LARGEST_BOX], strip[LARGEST_BOX];
    UNROLL
    for (int a = 0; a < side; a++) {
        /* The edges' parts left of border a are `reach` wide. */
        NAME(Vector) reach[4];
        const NAME(Vector) border = drops->border_x + (float)a * unit;
        strip[a] = zero;
        UNROLL
        for (int e = 0; e < 4; e++) {
            reach[e] = width[e];
            if (a < side - 1) {
                reach[e] = MINIMUM(MAXIMUM(border - left_x[e], zero), width[e]);
                const NAME(Vector) heights = FUSED(slope[e], reach[e], left_y[e] + left_y[e]);
                strip[a] = FUSED(half[e] * reach[e], heights, strip[a]);
            }
        }
        UNROLL
        for (int b = 0; b < side - 1; b++) {
            above[b][a] = zero;
            UNROLL
            for (int e = 0; e < 4; e++) {
                /* A triangle or a trapezium. */
                const NAME(Vector) end_above = MAXIMUM(FUSED(upwards[e], reach[e], start[e][b]), zero);
                const NAME(Vector) base = MINIMUM(reach[e], MAXIMUM(start_above[e][b], end_above));
                const NAME(Vector) height = FUSED(half_steepness[e], end_above, half_above[e][b]);
                above[b][a] = FUSED(height, base, above[b][a]);
            }
        }
    }
    strip[side - 1] = KEPT_ABOVE(ALL(1.0f), ABSOLUTE(total), ALL(SMALLEST_AREA));
    UNROLL
    for (int b = 0; b < side; b++) {
        NAME(Vector) before = zero;
        UNROLL
        for (int a = 0; a < side; a++) {
            const NAME(Vector) higher = b < side - 1 ? above[b][a] : zero;
            const NAME(Vector) here = (b > 0 ? above[b - 1][a] : strip[a]) - higher;
            const NAME(Vector) part = here - before;
            share[b * side + a] = KEPT_ABOVE(part, part, ALL(SMALLEST_SHARE));
            before = here;
        }
    }
}

/* Rearrange four numbers of each lane so that those of a lane lie side by side: of lane 4 m + j in quarter m
 * (half of a shorter vector) of result j. */
INLINE void NAME(join_lanes)(NAME(Vector) v0, NAME(Vector) v1, NAME(Vector) v2, NAME(Vector) v3,
                             NAME(Vector) joined[4])
{
    const NAME(Vector) low01 = LOW_PAIRS(v0, v1), high01 = HIGH_PAIRS(v0, v1);
    const NAME(Vector) low23 = LOW_PAIRS(v2, v3), high23 = HIGH_PAIRS(v2, v3);
    joined[0] = LOW_HALVES(low01, low23);
    joined[1] = HIGH_HALVES(low01, low23);
    joined[2] = LOW_HALVES(high01, high23);
    joined[3] = HIGH_HALVES(high01, high23);
}

/* Lay the shares of a vector of drops down by lanes, in the order of slots: for each row of the box and each
 * four of its columns all shares twice in a row; for planes besides the sums the context bit of those that are
 * not 0, and, for other planes than the context, all shares once.  Boxes of two columns take half the room. */
INLINE void NAME(spread_shares)(Workspace *ws, int turn, const int side, const NAME(Vector) *share,
                                const Planes planes, int32_t context_bit)
{
    const NAME(Vector) zero = ALL(0.0f);
    const int slots = LANES / 4;
    UNROLL
    for (int b = 0; b < side; b++) {
        if (side == 2) {
            const NAME(Vector) low = LOW_PAIRS(share[2 * b], share[2 * b + 1]);
            const NAME(Vector) high = HIGH_PAIRS(share[2 * b], share[2 * b + 1]);
            float *twice = ws->twice[turn][b][0][0];
            *(NAME(Vector) *)twice = LOW_TWICE(low);
            *(NAME(Vector) *)(twice + LANES) = HIGH_TWICE(low);
            *(NAME(Vector) *)(twice + 2 * LANES) = LOW_TWICE(high);
            *(NAME(Vector) *)(twice + 3 * LANES) = HIGH_TWICE(high);
            if (planes == PLANES_NONE)
                continue;
        }
        UNROLL
        for (int q = 0; 4 * q < side; q++) {
            const NAME(Vector) *row = share + b * side + 4 * q;
            const int n = side - 4 * q;
            NAME(Vector) joined[4];
            NAME(join_lanes)(row[0], n > 1 ? row[1] : zero, n > 2 ? row[2] : zero, n > 3 ? row[3] : zero, joined);
            UNROLL
            for (int j = 0; j < 4; j++) {
                float *twice = ws->twice[turn][b][q][j * slots];
                if (side > 2) {
                    *(NAME(Vector) *)twice = FIRST_TWICE(joined[j]);
                    *(NAME(Vector) *)(twice + LANES) = SECOND_TWICE(joined[j]);
                }
                if (planes != PLANES_NONE)
                    *(NAME(Flags) *)ws->bits[turn][b][q][j * slots] = (joined[j] > 0.0f) & context_bit;
                if (planes == PLANES_ANY)
                    *(NAME(Vector) *)ws->once[turn][b][q][j * slots] = joined[j];
            }
        }
    }
}
