/* Evaluation of the pixel map for the drizzle kernel; included by _kernel_body.h for each instruction set.
 *
 * For each patch the map's polynomial is expanded about the middles of the lanes' parts, where few terms count.
 */

/* Numbers of half as many lanes, in double precision and converted. */
typedef double NAME(Doubles) __attribute__((vector_size(4 * LANES), aligned(8), may_alias));
typedef int64_t NAME(Longs) __attribute__((vector_size(4 * LANES), aligned(8), may_alias));
typedef int32_t NAME(HalfFlags) __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
#define ABSOLUTE_DOUBLES(v) ((NAME(Doubles))((NAME(Longs))(v) & INT64_MAX))

/* Expand a polynomial of x, given by coefficients, about the middles of half of the lanes' parts: terms of the
 * distance in chip pixels. */
INLINE void NAME(expand_columns)(const Job *job, const double *coefficients, int first_lane, const int n_terms,
                                 NAME(Doubles) terms[MOST_TERMS])
{
    const PixelMap *map = job->map;
    const NAME(Doubles) s = *(const NAME(Doubles) *)&job->workspace->middle_argument[first_lane];
    UNROLL
    for (int i = 0; i < n_terms; i++)
        terms[i] = s - s;
    /* Horner's scheme, for the Taylor coefficients too. */
    for (ptrdiff_t power = map->terms - 1; power >= 0; power--) {
        UNROLL
        for (int i = n_terms - 1; i > 0; i--)
            terms[i] = FUSED_DOUBLES(terms[i], s, terms[i - 1]);
        terms[0] = FUSED_DOUBLES(terms[0], s, (NAME(Doubles)){0.0} + coefficients[power]);
    }
    double scale = 1.0;
    UNROLL
    for (int i = 1; i < n_terms; i++) {
        scale /= map->half_size[0];
        terms[i] *= scale;
    }
}

/* Give half of the lanes their origins, below and left of the middles of their parts, whose positions are given,
 * and the middles' positions from there. */
INLINE void NAME(find_origins)(Workspace *ws, int axis, int first_lane, NAME(Doubles) *position)
{
    for (int l = 0; l < LANES / 2; l++) {
        const double origin = floor((*position)[l]);
        ws->origin[axis][first_lane + l] = (int32_t)origin;
        (*position)[l] -= origin;
    }
}

/* Expand the map about the middles of the lanes' parts of a patch to some terms, and find the lanes' origins. */
INLINE void NAME(expand_to)(const Job *job, ptrdiff_t patch_row, const int n)
{
    Workspace *ws = job->workspace;
    Expansion *expansion = &ws->expansion;
    const double units = ldexp(1.0, job->bits), largest_distance[2] = {0.5 * PART + 0.5, 0.5 * PATCH_ROWS + 0.5};
    const double *by_row = job->row_terms + (size_t)patch_row * terms_per_row(job);
    expansion->within = !job->slow;
    for (int axis = 0; axis < 2; axis++) {
        for (int first = 0; first < LANES; first += LANES / 2) {
            NAME(Doubles) reach = (NAME(Doubles)){0.0} + job->bounds->residual * units;
            double row_distance = 1.0;
            UNROLL
            for (int j = 0; j < n; j++) {
                NAME(Doubles) terms[MOST_TERMS];
                NAME(expand_columns)(job, by_row + (axis * n + j) * job->map->terms, first, n - j, terms);
                if (j == 0) {
                    NAME(find_origins)(ws, axis, first, &terms[0]);
                    terms[0] += 0.5; /* from a pixel's centre to its border */
                }
                double distance = row_distance;
                UNROLL
                for (int i = 0; i < n - j; i++) {
                    terms[i] *= units;
                    reach += ABSOLUTE_DOUBLES(terms[i]) * distance;
                    distance *= largest_distance[0];
                    *(NAME(Doubles) *)&expansion->terms[axis][i][j][first] = terms[i];
                }
                row_distance *= largest_distance[1];
            }
            for (int l = 0; l < LANES / 2; l++)
                expansion->within &= reach[l] < LIMIT;
        }
    }
}

/* Expand the map about the middles of the lanes' parts of a patch, and find the lanes' origins. */
static __attribute__((noinline)) void NAME(expand_patch)(const Job *job, ptrdiff_t patch_row)
{
    if (job->local_terms == FEWEST_LOCAL_TERMS)
        NAME(expand_to)(job, patch_row, FEWEST_LOCAL_TERMS);
    else
        NAME(expand_to)(job, patch_row, job->local_terms);
}

/* Give the coefficients of the powers of the distance in columns, on a row, for half of the lanes. */
INLINE void NAME(terms_on_row)(const Expansion *expansion, int axis, double row_distance, int first_lane, const int n,
                               NAME(Doubles) terms[MOST_TERMS])
{
    UNROLL
    for (int i = 0; i < n; i++) {
        const double(*by_row)[MOST_LANES] = expansion->terms[axis][i];
        terms[i] = *(const NAME(Doubles) *)&by_row[n - 1 - i][first_lane];
        UNROLL
        for (int j = n - 2 - i; j >= 0; j--)
            terms[i] = terms[i] * row_distance + *(const NAME(Doubles) *)&by_row[j][first_lane];
    }
}

/* Evaluate a polynomial of the distances in columns from place `k` on, for half of the lanes. */
INLINE NAME(HalfFlags) NAME(evaluate_half)(const Side *side, int k, const int n, const NAME(Doubles) *terms)
{
    const NAME(Doubles) distance = *(const NAME(Doubles) *)&side->distance[k];
    NAME(Doubles) sum = terms[n - 1];
    UNROLL
    for (int i = n - 2; i >= 0; i--)
        sum = FUSED_DOUBLES(sum, distance, terms[i]);
    return __builtin_convertvector(sum, NAME(HalfFlags));
}

/* Evaluate an expansion of some terms at all positions of a side, in small units from the lanes' origins. */
INLINE void NAME(evaluate_terms)(const Job *job, double row_distance, const RowPlace *place, const Side *side,
                                 const int n, int32_t out[2][POSITIONS])
{
    const Expansion *expansion = &job->workspace->expansion;
    for (int axis = 0; axis < 2; axis++) {
        NAME(Doubles) low[MOST_TERMS], high[MOST_TERMS];
        NAME(terms_on_row)(expansion, axis, row_distance, 0, n, low);
        NAME(terms_on_row)(expansion, axis, row_distance, LANES / 2, n, high);
        for (int k = 0; k < PLACES; k += LANES) {
            NAME(Flags) position = JOINED(NAME(evaluate_half)(side, k, n, low),
                                          NAME(evaluate_half)(side, k + LANES / 2, n, high));
            if (place != NULL) {
                const NAME(Vector) residual =
                    FUSED(*(const NAME(Vector) *)&side->residual_step[axis][k], ALL(place->fraction),
                          *(const NAME(Vector) *)&side->residual[axis][k]);
                position += __builtin_convertvector(residual, NAME(Flags));
            }
            *(NAME(Flags) *)&out[axis][k] = position;
        }
    }
}

/* Evaluate the map at all positions of a side of a row y of positions, in small units from the lanes' origins. */
INLINE void NAME(evaluate)(const Job *job, double y, const RowPlace *place, Side *side, int32_t out[2][POSITIONS])
{
    const double row_distance = y - (double)job->workspace->middle_row;
    if (place != NULL && side->knot_row != place->knot_row)
        interpolate_side(job->map, side, place->knot_row, ldexp(1.0, job->bits));
    if (job->local_terms == FEWEST_LOCAL_TERMS)
        NAME(evaluate_terms)(job, row_distance, place, side, FEWEST_LOCAL_TERMS, out);
    else
        NAME(evaluate_terms)(job, row_distance, place, side, job->local_terms, out);
}

/* Evaluate the lower (0) or upper (1) edge of a chip row's drops, at their left and right sides. */
INLINE void NAME(evaluate_edge)(const Job *job, ptrdiff_t row, int upper, int32_t out[2][2][POSITIONS])
{
    const double half = job->drop->half_width, y = (double)row + (upper ? half : -half);
    const RowPlace *place = job->edge_places == NULL ? NULL : &job->edge_places[2 * row + upper];
    NAME(evaluate)(job, y, place, &job->workspace->sides[0], out[0]);
    if (!job->shared_edges)
        NAME(evaluate)(job, y, place, &job->workspace->sides[1], out[1]);
}

/* Evaluate the centres of a chip row. */
INLINE void NAME(evaluate_centres)(const Job *job, ptrdiff_t row)
{
    Workspace *ws = job->workspace;
    const RowPlace *place = job->centre_places == NULL ? NULL : &job->centre_places[row];
    NAME(evaluate)(job, (double)row, place, &ws->middle, ws->centres);
}

#undef ABSOLUTE_DOUBLES
