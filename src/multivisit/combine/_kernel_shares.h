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
    return reciprocal * (2.0f - v * reciprocal);
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
 * corner 0, in small units. */
typedef struct {
    NAME(Vector) x[3], y[3];
    NAME(Vector) border_x, border_y;
} NAME(Drops);

/* A vector of edges of drops, from left to right. */
typedef struct {
    NAME(Vector) x, y, width; /* of the left end, and how far the right end is */
    NAME(Vector) run_per_climb, slope, half, half_steepness;
    NAME(Flags) downwards; /* sign */
} NAME(Edge);

/* Describe the edge between two corners; `half` is negative for one that leads leftwards. */
INLINE NAME(Edge) NAME(find_edge)(NAME(Vector) from_x, NAME(Vector) from_y, NAME(Vector) to_x, NAME(Vector) to_y)
{
    NAME(Edge) edge;
    const NAME(Vector) along = to_x - from_x;
    const NAME(Flags) leftwards = SIGN_OF(along);
    const NAME(Vector) rise = WITH_SIGN(to_y - from_y, leftwards);
    edge.width = ABSOLUTE(along);
    edge.x = MINIMUM(from_x, to_x);
    edge.y = IF_NEGATIVE(along, to_y, from_y);
    /* One division for the slope and its inverse; the limits only guard it. */
    const NAME(Vector) run = MAXIMUM(edge.width, ALL(SMALLEST_STEP));
    const NAME(Vector) climb = MAXIMUM(ABSOLUTE(rise), ALL(SMALLEST_STEP));
    const NAME(Vector) inverse = RECIPROCAL(run * climb);
    const NAME(Vector) steepness = climb * climb * inverse;
    edge.run_per_climb = run * run * inverse;
    edge.downwards = SIGN_OF(rise);
    edge.slope = WITH_SIGN(steepness, edge.downwards);
    edge.half = WITH_SIGN(ALL(0.5f), leftwards);
    edge.half_steepness = edge.half * steepness;
    return edge;
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
    const NAME(Edge) edges[4] = {
        NAME(find_edge)(zero, zero, x[0], y[0]),
        NAME(find_edge)(x[0], y[0], x[1], y[1]),
        NAME(find_edge)(x[1], y[1], x[2], y[2]),
        NAME(find_edge)(x[2], y[2], zero, zero),
    };
    NAME(Vector) start[4][LARGEST_BOX - 1], start_above[4][LARGEST_BOX - 1], half_above[4][LARGEST_BOX - 1];
    UNROLL
    for (int b = 0; b < side - 1; b++) {
        const NAME(Vector) border = drops->border_y + (float)b * unit;
        UNROLL
        for (int e = 0; e < 4; e++) {
            start[e][b] = (edges[e].y - border) * edges[e].run_per_climb;
            start_above[e][b] = MAXIMUM(start[e][b], zero);
            half_above[e][b] = edges[e].half_steepness * start_above[e][b];
        }
    }
    NAME(Vector) above[LARGEST_BOX - 1][LARGEST_BOX], strip[LARGEST_BOX];
    UNROLL
    for (int a = 0; a < side; a++) {
        /* The edges' parts left of border a are `reach` wide. */
        NAME(Vector) reach[4], step[4];
        const NAME(Vector) border = drops->border_x + (float)a * unit;
        strip[a] = zero;
        UNROLL
        for (int e = 0; e < 4; e++) {
            reach[e] = edges[e].width;
            if (a < side - 1) {
                reach[e] = MINIMUM(MAXIMUM(border - edges[e].x, zero), edges[e].width);
                strip[a] += edges[e].half * reach[e] * (2.0f * edges[e].y + edges[e].slope * reach[e]);
            }
            step[e] = WITH_SIGN(reach[e], edges[e].downwards);
        }
        UNROLL
        for (int b = 0; b < side - 1; b++) {
            above[b][a] = zero;
            UNROLL
            for (int e = 0; e < 4; e++) {
                /* A triangle or a trapezium. */
                const NAME(Vector) end_above = MAXIMUM(start[e][b] + step[e], zero);
                const NAME(Vector) base = MINIMUM(reach[e], MAXIMUM(start_above[e][b], end_above));
                above[b][a] += (half_above[e][b] + edges[e].half_steepness * end_above) * base;
            }
        }
    }
    /* The integral of y dx: negative for a drop that is not mirrored; a drop without area has no shares. */
    const NAME(Vector) total = 0.5f * ((x[2] - x[0]) * y[1] - x[1] * (y[2] - y[0]));
    const NAME(Vector) size = MAXIMUM(ABSOLUTE(total), ALL(SMALLEST_AREA));
    const NAME(Vector) inverse = KEPT_ABOVE(WITH_SIGN(RECIPROCAL(size), SIGN_OF(total)), ABSOLUTE(total),
                                            ALL(SMALLEST_AREA));
    strip[side - 1] = total;
    UNROLL
    for (int b = 0; b < side; b++) {
        NAME(Vector) before = zero;
        UNROLL
        for (int a = 0; a < side; a++) {
            const NAME(Vector) higher = b < side - 1 ? above[b][a] : zero;
            const NAME(Vector) here = (b > 0 ? above[b - 1][a] : strip[a]) - higher;
            const NAME(Vector) part = (here - before) * inverse;
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
 * four of its columns all shares twice in a row, and once (`plain`) where that is asked for.  Boxes of two
 * columns take half the room. */
INLINE void NAME(spread_shares)(Workspace *ws, const int side, const NAME(Vector) *share, const int plain)
{
    const NAME(Vector) zero = ALL(0.0f);
    const int slots = LANES / 4;
    UNROLL
    for (int b = 0; b < side; b++) {
        if (side == 2) {
            const NAME(Vector) low = LOW_PAIRS(share[2 * b], share[2 * b + 1]);
            const NAME(Vector) high = HIGH_PAIRS(share[2 * b], share[2 * b + 1]);
            float *twice = ws->twice[b][0][0];
            *(NAME(Vector) *)twice = LOW_TWICE(low);
            *(NAME(Vector) *)(twice + LANES) = HIGH_TWICE(low);
            *(NAME(Vector) *)(twice + 2 * LANES) = LOW_TWICE(high);
            *(NAME(Vector) *)(twice + 3 * LANES) = HIGH_TWICE(high);
            if (!plain)
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
                float *twice = ws->twice[b][q][j * slots];
                if (side > 2) {
                    *(NAME(Vector) *)twice = FIRST_TWICE(joined[j]);
                    *(NAME(Vector) *)(twice + LANES) = SECOND_TWICE(joined[j]);
                }
                if (plain)
                    *(NAME(Vector) *)ws->once[b][q][j * slots] = joined[j];
            }
        }
    }
}
