/* The loops over pixels of the source catalogs.
 *
 * One Python extension module without dependencies; arrays come in through the buffer protocol.  Every function
 * works on one band of rows of a mosaic with the interpreter released, and keeps nothing between calls, so that
 * bands can be worked on in any order and by any thread.  Pixels of weight 0 hold no data.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
/* Wider vectors, but no fused operations: the same bits on every machine. */
#define VECTORIZED __attribute__((target_clones("avx2", "default"), optimize("fp-contract=off")))
#else
#define VECTORIZED
#endif

#define MAX_TAPS 31
#define MAX_TERMS 2

/* ------------------------------------------------------------------ growing lists of numbers */

typedef struct {
    int32_t *items;
    size_t n, capacity;
    int failed;
} List;

static void append(List *list, const int32_t *items, size_t n)
{
    if (list->n + n > list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 3072;
        int32_t *larger = realloc(list->items, capacity * sizeof *larger);
        if (larger == NULL) {
            list->failed = 1;
            return;
        }
        list->items = larger;
        list->capacity = capacity;
    }
    memcpy(list->items + list->n, items, n * sizeof *items);
    list->n += n;
}

/* ------------------------------------------------------------------ reading */

VECTORIZED static void swap_bytes(uint32_t *words, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        words[i] = __builtin_bswap32(words[i]);
}

static int is_little_endian(void)
{
    const uint16_t one = 1;
    return *(const unsigned char *)&one;
}

/* Read big-endian pixels of rows that lie `stride` bytes apart; 0, -1 with errno set, or 1 at the end of the file. */
static int read_rows(int descriptor, off_t start, off_t stride, ptrdiff_t rows, ptrdiff_t columns, float *out)
{
    for (ptrdiff_t y = 0; y < rows; y++) {
        char *room = (char *)(out + y * columns);
        size_t left = (size_t)columns * sizeof *out;
        off_t place = start + y * stride;
        while (left) {
            const ssize_t n_read = pread(descriptor, room, left, place);
            if (n_read < 0 && errno == EINTR)
                continue;
            if (n_read <= 0)
                return n_read < 0 ? -1 : 1;
            room += n_read, left -= (size_t)n_read, place += n_read;
        }
        if (is_little_endian())
            swap_bytes((uint32_t *)(void *)(out + y * columns), columns);
    }
    return 0;
}

VECTORIZED static int16_t any_of(const int16_t *flags, ptrdiff_t n)
{
    int16_t any = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        any |= flags[i];
    return any;
}

static void find_flagged(const int16_t *flags, ptrdiff_t rows, ptrdiff_t columns, int16_t mask, ptrdiff_t first_row,
                         List *found)
{
    for (ptrdiff_t y = 0; y < rows; y++)
        for (ptrdiff_t start = 0; start < columns; start += 256) {
            const ptrdiff_t end = start + 256 < columns ? start + 256 : columns;
            if (!(any_of(flags + y * columns + start, end - start) & mask))
                continue;
            for (ptrdiff_t x = start; x < end; x++)
                if (flags[y * columns + x] & mask)
                    append(found, (int32_t[]){(int32_t)(first_row + y), (int32_t)x}, 2);
        }
}

/* ------------------------------------------------------------------ statistics of boxes */

/* A whole number in the order of floating-point ones. */
static inline int32_t key_of(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

static float value_of(int32_t key)
{
    const int32_t bits = key ^ (int32_t)((uint32_t)(key >> 31) >> 1);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

VECTORIZED static int32_t count_up_to(const int32_t *keys, ptrdiff_t n, int32_t limit)
{
    int32_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        count += keys[i] <= limit;
    return count;
}

VECTORIZED static void range_of(const int32_t *keys, ptrdiff_t n, int32_t limit, int32_t *smallest, int32_t *greatest)
{
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (ptrdiff_t i = 0; i < n; i++) {
        low = keys[i] < low ? keys[i] : low;
        high = keys[i] > high && keys[i] < limit ? keys[i] : high;
    }
    *smallest = low, *greatest = high;
}

/* Counting what lies below a limit has no branches, so halving the limits is faster than sorting a part. */
static double median_of(const int32_t *keys, ptrdiff_t n)
{
    int32_t low, high;
    range_of(keys, n, INT32_MAX, &low, &high);
    while (low < high) {
        const int32_t middle = (int32_t)(((int64_t)low + high) >> 1);
        if (count_up_to(keys, n, middle) > n / 2)
            high = middle;
        else
            low = middle + 1;
    }
    const double upper = value_of(low);
    if (n % 2 || count_up_to(keys, n, low - 1) < n / 2)
        return upper;
    int32_t smallest, before;
    range_of(keys, n, low, &smallest, &before);
    return 0.5 * (value_of(before) + upper);
}

#define LANES 8

/* Sums of what lies within `reach` of `centre`, relative to that: number, sum, sum of squares. */
VECTORIZED static void sums_near(const float *values, ptrdiff_t n, float centre, float reach, double sums[3])
{
    float count[LANES] = {0}, sum[LANES] = {0}, squares[LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const float d = values[i + k] - centre;
            const float inside = d >= -reach && d <= reach ? 1.0f : 0.0f;
            const float kept = inside != 0.0f ? d : 0.0f;
            count[k] += inside, sum[k] += kept, squares[k] += kept * kept;
        }
    for (; i < n; i++) {
        const float d = values[i] - centre;
        if (d >= -reach && d <= reach)
            count[0] += 1.0f, sum[0] += d, squares[0] += d * d;
    }
    sums[0] = sums[1] = sums[2] = 0.0;
    for (int k = 0; k < LANES; k++)
        sums[0] += count[k], sums[1] += sum[k], sums[2] += squares[k];
}

/* Clip values about their mean until nothing more falls out; mean, median, deviation and number of what is left.
 *
 * `low` and `high` become the limits; `scratch` has room for the values. */
static ptrdiff_t clip(const float *values, int32_t *scratch, ptrdiff_t n, double n_sigma, int iterations, double *mean,
                      double *median, double *deviation, float *low, float *high)
{
    *mean = *median = *deviation = NAN;
    *low = *high = 0.0f;
    if (n == 0)
        return 0;
    float centre = values[n / 2], reach = FLT_MAX;
    double sums[3], before = -1.0;
    for (int iteration = 0;; iteration++) {
        sums_near(values, n, centre, reach, sums);
        const double shift = sums[1] / sums[0];
        *mean = centre + shift;
        *deviation = sqrt(fmax(0.0, sums[2] / sums[0] - shift * shift));
        *low = centre - reach, *high = centre + reach;
        const float next = (float)(n_sigma * *deviation);
        if (iteration >= iterations || sums[0] == before || !(next > 0.0f))
            break;
        before = sums[0];
        centre = (float)*mean, reach = next;
    }
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const float d = values[i] - centre;
        scratch[kept] = key_of(values[i]);
        kept += d >= -reach && d <= reach;
    }
    *median = kept ? median_of(scratch, kept) : NAN;
    return kept;
}

/* Sum of weighted squares about a centre of the values within limits. */
VECTORIZED static double squares_within(const float *values, const float *weights, ptrdiff_t n, float centre, float low,
                                        float high)
{
    float sums[LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const float v = values[i + k], d = v - centre;
            sums[k] += v >= low && v <= high ? d * d * weights[i + k] : 0.0f;
        }
    double sum = 0.0;
    for (; i < n; i++)
        sum += values[i] >= low && values[i] <= high ? (values[i] - centre) * (values[i] - centre) * weights[i] : 0.0f;
    for (int k = 0; k < LANES; k++)
        sum += sums[k];
    return sum;
}

enum { BOX_MEAN, BOX_MEDIAN, BOX_DEVIATION, BOX_NOISE, BOX_FRACTION, BOX_FIELDS };

/* Row i of the arrays is row i * step of the band. */
static int box_statistics(const float *science, const float *weight, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t box,
                          ptrdiff_t n_y, ptrdiff_t n_x, ptrdiff_t step, double n_sigma, int iterations, double *out)
{
    /* What is written behind the last value that counts needs room, too. */
    float *values = malloc(2 * (size_t)(box * box + 1) * sizeof *values), *weights = values + box * box + 1;
    int32_t *scratch = malloc((size_t)(box * box + 1) * sizeof *scratch);
    if (values == NULL || scratch == NULL) {
        free(values), free(scratch);
        return -1;
    }
    for (ptrdiff_t b = 0; b < n_x * n_y; b++) {
        const ptrdiff_t y0 = (b / n_x * box + step - 1) / step, x0 = b % n_x * box;
        const ptrdiff_t end = ((b / n_x + 1) * box + step - 1) / step, y1 = end < rows ? end : rows;
        const ptrdiff_t x1 = x0 + box < columns ? x0 + box : columns;
        ptrdiff_t n = 0, possible = 0;
        for (ptrdiff_t y = y0; y < y1; y++)
            /* Rows start at one column after another, so that all columns count. */
            for (ptrdiff_t x = x0 + y % step; x < x1; x += step) {
                const float v = science[y * columns + x], w = weight[y * columns + x];
                values[n] = v, weights[n] = w;
                n += w > 0.0f && isfinite(v);
                possible++;
            }
        double *o = out + b * BOX_FIELDS;
        float low, high;
        const ptrdiff_t kept = clip(values, scratch, n, n_sigma, iterations, &o[BOX_MEAN], &o[BOX_MEDIAN],
                                    &o[BOX_DEVIATION], &low, &high);
        o[BOX_NOISE] = kept ? sqrt(squares_within(values, weights, n, (float)o[BOX_MEDIAN], low, high) / kept) : NAN;
        o[BOX_FRACTION] = possible ? (double)kept / (double)(box / step * (box / step) + 1e-9) : 0.0;
    }
    free(values), free(scratch);
    return 0;
}

/* ------------------------------------------------------------------ filtering and thresholds */

typedef struct {
    const float *science, *weight;
    ptrdiff_t rows, columns;
    const float *levels, *noises; /* background and noise at weight 1: rows of a coarse mesh, as wide as the band */
    ptrdiff_t n_knots;
    double first_knot, knot_spacing; /* row of the first knot, and their distance */
    const float *across, *down;      /* terms of the filter: (n_terms, n_taps) */
    ptrdiff_t n_terms, n_taps;
} Band;

VECTORIZED static void mix_rows(const float *a, const float *b, float fraction, ptrdiff_t n, float *out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = a[i] + fraction * (b[i] - a[i]);
}

/* A row of a mesh at row y of the band. */
static void mesh_row(const Band *band, const float *mesh, ptrdiff_t y, float *out)
{
    double position = (y - band->first_knot) / band->knot_spacing;
    position = position < 0.0 ? 0.0 : position > band->n_knots - 1.0 ? band->n_knots - 1.0 : position;
    const ptrdiff_t knot = (ptrdiff_t)position;
    const ptrdiff_t next = knot + 1 < band->n_knots ? knot + 1 : knot;
    mix_rows(mesh + knot * band->columns, mesh + next * band->columns, (float)(position - knot), band->columns, out);
}

VECTORIZED static void subtract_row(const float *science, const float *weight, const float *level, ptrdiff_t n,
                                    float *out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const float v = science[i] - level[i];
        out[i] = weight[i] > 0.0f && v >= -FLT_MAX && v <= FLT_MAX ? v : 0.0f;
    }
}

VECTORIZED static void weigh_rows(const float *const *rows, const float *taps, ptrdiff_t n_taps, ptrdiff_t n,
                                  int add, float *out)
{
    for (ptrdiff_t start = 0; start < n; start += 64) {
        const ptrdiff_t m = n - start < 64 ? n - start : 64;
        float sum[64];
        if (add)
            memcpy(sum, out + start, (size_t)m * sizeof *sum);
        else
            memset(sum, 0, sizeof sum);
        for (ptrdiff_t t = 0; t < n_taps; t++) {
            const float *row = rows[t] + start;
            const float tap = taps[t];
            if (m == 64)
                for (ptrdiff_t i = 0; i < 64; i++)
                    sum[i] += tap * row[i];
            else
                for (ptrdiff_t i = 0; i < m; i++)
                    sum[i] += tap * row[i];
        }
        memcpy(out + start, sum, (size_t)m * sizeof *sum);
    }
}

/* Bit 0: in a segment; bit 1: high enough for a peak. */
VECTORIZED static void mark_row(const float *filtered, const float *weight, const float *noise, float segment,
                                float peak, ptrdiff_t n, uint8_t *marks)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const float square = filtered[i] * filtered[i] * weight[i], unit = noise[i] * noise[i];
        const int above = filtered[i] > 0.0f;
        marks[i] = (uint8_t)((above & (square > segment * unit)) | (above & (square > peak * unit)) << 1);
    }
}

typedef struct {
    const Band *band;
    ptrdiff_t half, next; /* half the number of taps; the next row to filter across */
    float *ring;          /* (n_taps, n_terms, columns) */
    float *row, *level;   /* padded row; background */
} Filter;

static int start_filter(Filter *filter, const Band *band, ptrdiff_t first_row)
{
    filter->band = band;
    filter->half = band->n_taps / 2;
    filter->next = first_row - filter->half;
    filter->ring = calloc((size_t)(band->n_taps * band->n_terms * band->columns), sizeof(float));
    filter->row = calloc((size_t)(band->columns + band->n_taps), sizeof(float));
    filter->level = malloc((size_t)band->columns * sizeof(float));
    return filter->ring == NULL || filter->row == NULL || filter->level == NULL ? -1 : 0;
}

static void end_filter(Filter *filter)
{
    free(filter->ring), free(filter->row), free(filter->level);
}

/* Row y of the filtered band; rows must be asked for in order. Rows outside the band count as empty. */
static void filter_row(Filter *filter, ptrdiff_t y, float *out)
{
    const Band *band = filter->band;
    const ptrdiff_t n = band->columns, taps = band->n_taps;
    const float *sources[MAX_TAPS];
    for (; filter->next <= y + filter->half; filter->next++) {
        const ptrdiff_t r = filter->next;
        float *across = filter->ring + ((r % taps + taps) % taps) * band->n_terms * n;
        if (r < 0 || r >= band->rows) {
            memset(across, 0, (size_t)(band->n_terms * n) * sizeof *across);
            continue;
        }
        mesh_row(band, band->levels, r, filter->level);
        subtract_row(band->science + r * n, band->weight + r * n, filter->level, n, filter->row + filter->half);
        for (ptrdiff_t t = 0; t < taps; t++)
            sources[t] = filter->row + t;
        for (ptrdiff_t k = 0; k < band->n_terms; k++)
            weigh_rows(sources, band->across + k * taps, taps, n, 0, across + k * n);
    }
    for (ptrdiff_t k = 0; k < band->n_terms; k++) {
        for (ptrdiff_t t = 0; t < taps; t++) {
            const ptrdiff_t r = y - filter->half + t;
            sources[t] = filter->ring + (((r % taps + taps) % taps) * band->n_terms + k) * n;
        }
        weigh_rows(sources, band->down + k * taps, taps, n, k > 0, out);
    }
}

static int is_peak(const float *above, const float *here, const float *below, ptrdiff_t x, ptrdiff_t n)
{
    const float v = here[x];
    const ptrdiff_t left = x > 0 ? x - 1 : x, right = x + 1 < n ? x + 1 : x;
    /* Of equal neighbours the last one is the peak. */
    for (ptrdiff_t i = left; i <= right; i++)
        if (above[i] > v || below[i] >= v)
            return 0;
    return !(x > 0 && here[left] > v) && !(right > x && here[right] >= v);
}

static int find_pixels(const Band *band, ptrdiff_t first, ptrdiff_t last, double segment, double peak, List *runs,
                       List *peaks)
{
    const ptrdiff_t n = band->columns;
    Filter filter = {0};
    float *rows = calloc(4 * (size_t)n, sizeof *rows);
    uint8_t *marks = calloc((size_t)n + 8, 1);
    int failed = start_filter(&filter, band, first - 1) || rows == NULL || marks == NULL;
    if (!failed) {
        float *above = rows, *here = rows + n, *below = rows + 2 * n, *noise = rows + 3 * n;
        filter_row(&filter, first - 1, above);
        filter_row(&filter, first, here);
        for (ptrdiff_t y = first; y < last; y++) {
            filter_row(&filter, y + 1, below);
            mesh_row(band, band->noises, y, noise);
            mark_row(here, band->weight + y * n, noise, (float)(segment * segment), (float)(peak * peak), n, marks);
            ptrdiff_t start = -1;
            for (ptrdiff_t x = 0; x < n; x += 8) {
                uint64_t eight;
                memcpy(&eight, marks + x, 8);
                if (eight == 0 && start < 0)
                    continue;
                for (ptrdiff_t i = x; i < x + 8 && i < n; i++) {
                    if (marks[i] & 1) {
                        if (start < 0)
                            start = i;
                    } else if (start >= 0) {
                        append(runs, (int32_t[]){(int32_t)y, (int32_t)start, (int32_t)i}, 3);
                        start = -1;
                    }
                    if (marks[i] & 2 && is_peak(above, here, below, i, n)) {
                        union { float value; int32_t bits; } height = {.value = here[i]};
                        append(peaks, (int32_t[]){(int32_t)y, (int32_t)i, height.bits}, 3);
                    }
                }
            }
            if (start >= 0)
                append(runs, (int32_t[]){(int32_t)y, (int32_t)start, (int32_t)n}, 3);
            float *oldest = above;
            above = here, here = below, below = oldest;
        }
    }
    end_filter(&filter);
    free(rows), free(marks);
    return failed || runs->failed || peaks->failed ? -1 : 0;
}

/* ------------------------------------------------------------------ connected pixels */

static int32_t root_of(int32_t *parents, int32_t i)
{
    while (parents[i] != i) {
        parents[i] = parents[parents[i]];
        i = parents[i];
    }
    return i;
}

static void unite(int32_t *parents, int32_t a, int32_t b)
{
    a = root_of(parents, a), b = root_of(parents, b);
    if (a < b)
        parents[b] = a;
    else
        parents[a] = b;
}

/* Number the 8-connected components of runs (row, start, stop), sorted by row and start, from 0. */
static int32_t connect_runs(const int32_t *runs, int32_t n, int32_t *labels)
{
    for (int32_t i = 0; i < n; i++)
        labels[i] = i;
    int32_t before = 0; /* first run of the row above that may touch */
    for (int32_t i = 0; i < n; i++) {
        const int32_t *run = runs + 3 * (ptrdiff_t)i;
        while (before < i) {
            const int32_t *other = runs + 3 * (ptrdiff_t)before;
            if (other[0] < run[0] - 1 || (other[0] == run[0] - 1 && other[2] < run[1]))
                before++;
            else
                break;
        }
        for (int32_t j = before; j < i; j++) {
            const int32_t *other = runs + 3 * (ptrdiff_t)j;
            if (other[0] != run[0] - 1 || other[1] > run[2])
                break;
            unite(labels, i, j);
        }
    }
    int32_t found = 0;
    /* Parents come before their children, so they have their numbers, kept negative, before the children ask. */
    for (int32_t i = 0; i < n; i++)
        labels[i] = labels[i] == i ? -1 - found++ : labels[labels[i]];
    for (int32_t i = 0; i < n; i++)
        labels[i] = -1 - labels[i];
    return found;
}

/* ------------------------------------------------------------------ deblending */

typedef struct {
    float value;
    int32_t pixel;
} Pixel;

static int brighter_first(const void *a, const void *b)
{
    const Pixel *p = a, *q = b;
    if (p->value != q->value)
        return p->value > q->value ? -1 : 1;
    return (p->pixel > q->pixel) - (p->pixel < q->pixel);
}

typedef struct {
    double flux;
    int32_t n;
    float peak;
} Branch;

/* Split the pixels of value `label` into objects, numbered from 0 in `objects` (-1 elsewhere).
 *
 * Pixels are taken from the brightest down; branches grow and meet.  Where two meet and both stand out from the
 * level of their meeting by the contrast, the least area and at least one threshold level, both are kept. */
static int32_t deblend(const float *filtered, const int32_t *labels, ptrdiff_t rows, ptrdiff_t columns, int32_t label,
                       int32_t least_area, double contrast, double n_levels, int32_t *objects)
{
    const ptrdiff_t size = rows * columns;
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < size; i++) {
        objects[i] = -1;
        n += labels[i] == label;
    }
    Pixel *pixels = malloc((size_t)n * sizeof *pixels + 1);
    int32_t *order = malloc((size_t)size * sizeof *order + 1); /* rank of a pixel among the taken ones, or -1 */
    int32_t *branches = malloc((size_t)n * sizeof *branches + 1);
    int32_t *owners = malloc((size_t)n * sizeof *owners + 1); /* object of a pixel, and objects' aliases */
    int32_t *aliases = malloc((size_t)n * sizeof *aliases + 1);
    Branch *sums = malloc((size_t)n * sizeof *sums + 1);
    int32_t found = -1;
    if (pixels == NULL || order == NULL || branches == NULL || owners == NULL || aliases == NULL || sums == NULL)
        goto end;
    double total = 0.0;
    ptrdiff_t k = 0;
    for (ptrdiff_t i = 0; i < size; i++) {
        order[i] = -1;
        if (labels[i] == label) {
            pixels[k++] = (Pixel){filtered[i], (int32_t)i};
            total += filtered[i];
        }
    }
    qsort(pixels, (size_t)n, sizeof *pixels, brighter_first);
    const double faintest = n ? fmax(pixels[n - 1].value, FLT_MIN) : 1.0;
    const double span = n ? log(fmax(pixels[0].value, FLT_MIN) / faintest) : 0.0;
    const double per_level = span > 0.0 ? n_levels / span : 0.0;
    for (int32_t p = 0; p < n; p++) {
        const float value = pixels[p].value;
        const ptrdiff_t at = pixels[p].pixel, y = at / columns, x = at % columns;
        branches[p] = p;
        aliases[p] = p;
        owners[p] = p;
        sums[p] = (Branch){value, 1, value};
        int32_t brightest = -1; /* rank of the brightest neighbour that has been taken */
        for (int d = 0; d < 9; d++) {
            const ptrdiff_t v = y + d / 3 - 1, u = x + d % 3 - 1;
            if (v < 0 || v >= rows || u < 0 || u >= columns || d == 4)
                continue;
            const int32_t other = order[v * columns + u];
            if (other >= 0 && (brightest < 0 || other < brightest))
                brightest = other;
        }
        if (brightest >= 0) {
            const int32_t joined = root_of(branches, brightest);
            owners[p] = root_of(aliases, owners[brightest]);
            branches[p] = joined;
            sums[joined].flux += value;
            sums[joined].n++;
        }
        for (int d = 0; d < 9 && brightest >= 0; d++) {
            const ptrdiff_t v = y + d / 3 - 1, u = x + d % 3 - 1;
            if (v < 0 || v >= rows || u < 0 || u >= columns || d == 4 || order[v * columns + u] < 0)
                continue;
            const int32_t other = order[v * columns + u];
            const int32_t a = root_of(branches, p), b = root_of(branches, other);
            if (a == b)
                continue;
            int stands_out[2];
            const int32_t pair[2] = {a, b};
            const double level = floor(per_level * log(fmax(value, FLT_MIN) / faintest));
            for (int side = 0; side < 2; side++) {
                const Branch *branch = &sums[pair[side]];
                stands_out[side] = branch->n >= least_area
                                   && branch->flux - (double)branch->n * value >= contrast * total
                                   && floor(per_level * log(fmax(branch->peak, FLT_MIN) / faintest)) > level;
            }
            const int32_t mine = root_of(aliases, owners[p]), its = root_of(aliases, owners[other]);
            if (!(stands_out[0] && stands_out[1]) && mine != its) {
                /* The one that does not stand out joins the other; of two such, the fainter joins. */
                const int mine_joins = stands_out[1] || (!stands_out[0] && sums[b].peak > sums[a].peak);
                aliases[mine_joins ? mine : its] = mine_joins ? its : mine;
            }
            /* Roots of branches are their smallest ranks, that is their peaks. */
            const int32_t root = a < b ? a : b, leaf = a < b ? b : a;
            branches[leaf] = root;
            sums[root].flux += sums[leaf].flux;
            sums[root].n += sums[leaf].n;
            sums[root].peak = fmaxf(sums[root].peak, sums[leaf].peak);
        }
        order[at] = p;
    }
    found = 0;
    for (int32_t p = 0; p < n; p++)
        if (aliases[p] == p && owners[p] == p)
            branches[p] = found++; /* from here on: numbers of the objects */
    for (int32_t p = 0; p < n; p++)
        objects[pixels[p].pixel] = branches[root_of(aliases, owners[p])];
end:
    free(pixels), free(order), free(branches), free(owners), free(aliases), free(sums);
    return found;
}

/* ------------------------------------------------------------------ measurements */

enum {
    SEGMENT_AREA,
    SEGMENT_FLUX,
    SEGMENT_WEIGHT,
    SEGMENT_X,
    SEGMENT_Y,
    SEGMENT_XX,
    SEGMENT_YY,
    SEGMENT_XY,
    SEGMENT_X_MIN,
    SEGMENT_X_MAX,
    SEGMENT_Y_MIN,
    SEGMENT_Y_MAX,
    SEGMENT_FIELDS
};

/* Sums over the pixels of each label 1..n; moments count from the first pixel that a segment shows. */
static void measure_segments(const float *values, const float *weight, const int32_t *labels, ptrdiff_t rows,
                             ptrdiff_t columns, ptrdiff_t n, double *out)
{
    double *light = out + n * SEGMENT_FIELDS; /* positive light: the weight of the moments; first pixels */
    for (ptrdiff_t y = 0; y < rows; y++)
        for (ptrdiff_t x = 0; x < columns; x++) {
            const int32_t label = labels[y * columns + x];
            if (label < 1 || label > n)
                continue;
            double *o = out + (ptrdiff_t)(label - 1) * SEGMENT_FIELDS, *more = light + 3 * (ptrdiff_t)(label - 1);
            if (o[SEGMENT_AREA] == 0.0) {
                more[1] = x, more[2] = y;
                o[SEGMENT_X_MIN] = o[SEGMENT_X_MAX] = x;
                o[SEGMENT_Y_MIN] = y;
            }
            const double v = values[y * columns + x], positive = v > 0.0 ? v : 0.0;
            const double u = x - more[1], w = y - more[2];
            o[SEGMENT_AREA] += 1.0;
            o[SEGMENT_FLUX] += v;
            o[SEGMENT_WEIGHT] += weight[y * columns + x];
            more[0] += positive;
            o[SEGMENT_X] += positive * u, o[SEGMENT_Y] += positive * w;
            o[SEGMENT_XX] += positive * u * u, o[SEGMENT_YY] += positive * w * w, o[SEGMENT_XY] += positive * u * w;
            o[SEGMENT_X_MIN] = fmin(o[SEGMENT_X_MIN], x), o[SEGMENT_X_MAX] = fmax(o[SEGMENT_X_MAX], x);
            o[SEGMENT_Y_MAX] = y;
        }
    for (ptrdiff_t i = 0; i < n; i++) {
        double *o = out + i * SEGMENT_FIELDS, *more = light + 3 * i;
        if (!(more[0] > 0.0)) {
            o[SEGMENT_X] = 0.5 * (o[SEGMENT_X_MIN] + o[SEGMENT_X_MAX]);
            o[SEGMENT_Y] = 0.5 * (o[SEGMENT_Y_MIN] + o[SEGMENT_Y_MAX]);
            o[SEGMENT_XX] = o[SEGMENT_YY] = o[SEGMENT_XY] = 0.0;
            continue;
        }
        const double u = o[SEGMENT_X] / more[0], w = o[SEGMENT_Y] / more[0];
        o[SEGMENT_XX] = o[SEGMENT_XX] / more[0] - u * u;
        o[SEGMENT_YY] = o[SEGMENT_YY] / more[0] - w * w;
        o[SEGMENT_XY] = o[SEGMENT_XY] / more[0] - u * w;
        o[SEGMENT_X] = more[1] + u, o[SEGMENT_Y] = more[2] + w;
    }
}

enum {
    SKY_MEAN,
    SKY_MEDIAN,
    SKY_DEVIATION,
    SKY_AREA,
    SKY_WEIGHT,
    SKY_LEAST_WEIGHT,
    SKY_HOLES,
    SKY_WIDTH,
    SKY_SUMS,                            /* of the inner aperture, and then of the outer one: */
    SKY_FIELDS = SKY_SUMS + 2 * 3
};

enum { SUM_INVERSE_WEIGHT, SUM_LIGHT, SUM_CURVATURE };

/* Below this part of the greatest weight of an aperture, a pixel's noise does not grow any more: it lies at the edge of
 * an input pixel's drop and has that pixel's noise. */
#define LEAST_PART 0.05f

typedef struct {
    const float *values, *weight;
    ptrdiff_t rows, columns;
} Image;

/* A pixel less its four neighbours; one that holds no data counts as equal. */
static float curvature_at(const Image *image, ptrdiff_t y, ptrdiff_t x)
{
    const float centre = image->values[y * image->columns + x];
    float sum = 0.0f;
    for (int d = 0; d < 4; d++) {
        const ptrdiff_t v = y + (d == 0) - (d == 1), u = x + (d == 2) - (d == 3);
        if (v >= 0 && v < image->rows && u >= 0 && u < image->columns && image->weight[v * image->columns + u] > 0.0f)
            sum += image->values[v * image->columns + u] - centre;
    }
    return sum;
}

/* What the noise of an aperture's sum depends on: sums over its pixels of 1 / weight, of light / weight, and of the
 * curvature of the light times the part of the greatest weight that a pixel lacks. */
static void sum_aperture(const Image *image, double cx, double cy, double radius, float sky, double sums[3])
{
    const ptrdiff_t y0 = (ptrdiff_t)fmax(ceil(cy - radius - 0.5), 0.0), x0 = (ptrdiff_t)fmax(ceil(cx - radius - 0.5), 0.0);
    const ptrdiff_t y1 = (ptrdiff_t)fmin(floor(cy + radius + 0.5), (double)image->rows - 1.0);
    const ptrdiff_t x1 = (ptrdiff_t)fmin(floor(cx + radius + 0.5), (double)image->columns - 1.0);
    float greatest = 0.0f;
    for (ptrdiff_t y = y0; y <= y1; y++)
        for (ptrdiff_t x = x0; x <= x1; x++) {
            const float w = image->weight[y * image->columns + x];
            if (w > greatest && (x - cx) * (x - cx) + (y - cy) * (y - cy) < (radius + 0.5) * (radius + 0.5))
                greatest = w;
        }
    sums[0] = sums[1] = sums[2] = 0.0;
    for (ptrdiff_t y = y0; y <= y1; y++)
        for (ptrdiff_t x = x0; x <= x1; x++) {
            const double inside = radius + 0.5 - sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy));
            const float w = image->weight[y * image->columns + x];
            if (inside <= 0.0 || !(w > 0.0f))
                continue;
            const double part = inside < 1.0 ? inside : 1.0;
            const double share = part / (w > LEAST_PART * greatest ? w : LEAST_PART * greatest);
            sums[SUM_INVERSE_WEIGHT] += share;
            sums[SUM_LIGHT] += share * (image->values[y * image->columns + x] - sky);
            const float missing = 1.0f - w / greatest;
            if (missing > 1e-4f)
                sums[SUM_CURVATURE] += part * missing * curvature_at(image, y, x);
        }
}

/* Variance of the light along its narrowest direction, under a Gaussian window; NaN where there is no light. */
static double least_variance(const Image *image, double cx, double cy, double sigma, float sky)
{
    enum { MOST = 64 };
    const double exponent = -0.5 / (sigma * sigma);
    const ptrdiff_t half = (ptrdiff_t)ceil(4.0 * sigma) < MOST / 2 - 2 ? (ptrdiff_t)ceil(4.0 * sigma) : MOST / 2 - 2;
    const ptrdiff_t column = (ptrdiff_t)lround(cx), row = (ptrdiff_t)lround(cy);
    double across[MOST], sum = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
    for (ptrdiff_t k = -half; k <= half; k++)
        across[k + half] = exp(exponent * (column + k - cx) * (column + k - cx));
    for (ptrdiff_t y = row - half; y <= row + half; y++) {
        if (y < 0 || y >= image->rows)
            continue;
        const double down = exp(exponent * (y - cy) * (y - cy));
        double line = 0.0, line_x = 0.0, line_xx = 0.0;
        for (ptrdiff_t x = column - half; x <= column + half; x++) {
            if (x < 0 || x >= image->columns || !(image->weight[y * image->columns + x] > 0.0f))
                continue;
            const double light = across[x - column + half] * (image->values[y * image->columns + x] - sky);
            line += light, line_x += light * (x - cx), line_xx += light * (x - cx) * (x - cx);
        }
        sum += down * line, xx += down * line_xx;
        yy += down * line * (y - cy) * (y - cy), xy += down * line_x * (y - cy);
    }
    return sum > 0.0 ? (0.5 * (xx + yy) - hypot(0.5 * (xx - yy), xy)) / sum : NAN;
}

/* Clipped statistics of the annulus about each position, the weights within the outer aperture, the least variance of
 * the light, and the sums above. */
static int measure_surroundings(const Image *image, const double *positions, ptrdiff_t n, const double radii[2],
                                double inner, double outer, double n_sigma, int iterations, double sigma, double *out)
{
    const double aperture = radii[1];
    const ptrdiff_t reach = (ptrdiff_t)ceil(outer > aperture ? outer : aperture) + 1;
    const size_t most = (size_t)((2 * reach + 1) * (2 * reach + 1));
    float *buffer = malloc((most + 1) * sizeof *buffer);
    int32_t *scratch = malloc((most + 1) * sizeof *scratch);
    if (buffer == NULL || scratch == NULL) {
        free(buffer), free(scratch);
        return -1;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double cx = positions[2 * i], cy = positions[2 * i + 1];
        double *o = out + i * SKY_FIELDS;
        double sum = 0.0, least = INFINITY;
        ptrdiff_t m = 0, inside = 0, holes = 0;
        const ptrdiff_t row = (ptrdiff_t)lround(cy);
        for (ptrdiff_t y = row - reach; y <= row + reach; y++) {
            const int is_row = y >= 0 && y < image->rows;
            const double offset = (y - cy) * (y - cy);
            if (offset <= aperture * aperture) {
                const double chord = sqrt(aperture * aperture - offset);
                for (ptrdiff_t x = (ptrdiff_t)ceil(cx - chord); x <= (ptrdiff_t)floor(cx + chord); x++) {
                    const float w = is_row && x >= 0 && x < image->columns ? image->weight[y * image->columns + x] : 0.0f;
                    inside++, holes += !(w > 0.0f);
                    sum += w, least = w < least ? w : least;
                }
            }
            if (!is_row || offset > outer * outer)
                continue;
            const double chord = sqrt(outer * outer - offset);
            const double hole = offset < inner * inner ? sqrt(inner * inner - offset) : 0.0;
            ptrdiff_t limits[4] = {(ptrdiff_t)ceil(cx - chord), (ptrdiff_t)floor(cx - hole),
                                   (ptrdiff_t)ceil(cx + hole), (ptrdiff_t)floor(cx + chord)};
            if (hole == 0.0)
                limits[1] = (ptrdiff_t)ceil(cx) - 1, limits[2] = limits[1] + 1;
            for (int side = 0; side < 4; side += 2) {
                const ptrdiff_t x0 = limits[side] > 0 ? limits[side] : 0;
                const ptrdiff_t x1 = limits[side + 1] < image->columns - 1 ? limits[side + 1] : image->columns - 1;
                const float *values = image->values + y * image->columns, *weight = image->weight + y * image->columns;
                for (ptrdiff_t x = x0; x <= x1; x++) {
                    buffer[m] = values[x];
                    m += weight[x] > 0.0f;
                }
            }
        }
        o[SKY_WEIGHT] = inside ? sum / inside : 0.0;
        o[SKY_LEAST_WEIGHT] = inside ? least : 0.0;
        o[SKY_HOLES] = (double)holes;
        float low, high;
        o[SKY_AREA] = (double)clip(buffer, scratch, m, n_sigma, iterations, &o[SKY_MEAN], &o[SKY_MEDIAN],
                                   &o[SKY_DEVIATION], &low, &high);
        const float sky = isfinite(o[SKY_MEDIAN]) ? (float)o[SKY_MEDIAN] : 0.0f;
        o[SKY_WIDTH] = least_variance(image, cx, cy, sigma, sky);
        for (int k = 0; k < 2; k++)
            sum_aperture(image, cx, cy, radii[k], sky, o + SKY_SUMS + 3 * k);
    }
    free(buffer), free(scratch);
    return 0;
}

/* Move positions to the centres of light under a Gaussian window that moves with them.
 *
 * The step is twice the mean offset, as the window pulls the mean to itself.  A position that leaves its pixel's
 * neighbourhood (a brighter source is near) is put back. */
static void refine_positions(const float *values, ptrdiff_t rows, ptrdiff_t columns, double *positions, ptrdiff_t n,
                             double sigma, double reach)
{
    enum { MOST = 64, STEPS = 30 };
    const double exponent = -0.5 / (sigma * sigma);
    const ptrdiff_t half = (ptrdiff_t)ceil(4.0 * sigma) < MOST / 2 - 2 ? (ptrdiff_t)ceil(4.0 * sigma) : MOST / 2 - 2;
    for (ptrdiff_t i = 0; i < n; i++) {
        double x = positions[2 * i], y = positions[2 * i + 1];
        const double x0 = x, y0 = y;
        int is_good = 1;
        for (int step = 0; step < STEPS && is_good; step++) {
            const ptrdiff_t column = (ptrdiff_t)lround(x), row = (ptrdiff_t)lround(y);
            double across[MOST], sum = 0.0, u = 0.0, v = 0.0;
            for (ptrdiff_t k = -half; k <= half; k++)
                across[k + half] = exp(exponent * (column + k - x) * (column + k - x));
            for (ptrdiff_t r = row - half; r <= row + half; r++) {
                if (r < 0 || r >= rows)
                    continue;
                const double down = exp(exponent * (r - y) * (r - y));
                double line = 0.0, line_u = 0.0;
                for (ptrdiff_t c = column - half; c <= column + half; c++) {
                    if (c < 0 || c >= columns)
                        continue;
                    const double light = across[c - column + half] * values[r * columns + c];
                    line += light, line_u += light * (c - x);
                }
                sum += down * line, u += down * line_u, v += down * line * (r - y);
            }
            is_good = sum > 0.0;
            if (!is_good)
                break;
            const double dx = 2.0 * u / sum, dy = 2.0 * v / sum;
            x += dx, y += dy;
            is_good = fabs(x - x0) <= reach && fabs(y - y0) <= reach;
            if (dx * dx + dy * dy < 1e-8)
                break;
        }
        if (is_good)
            positions[2 * i] = x, positions[2 * i + 1] = y;
    }
}

/* ------------------------------------------------------------------ tables */

enum { MOST_CHARACTERS = 330 }; /* of the greatest number with a few decimals */

/* A number with so many decimals; returns the place behind it. */
static char *format_number(double value, int decimals, char *at)
{
    static const double powers[] = {1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    const double scaled = fabs(value) * powers[decimals];
    if (!(scaled < 4e15))
        return at + snprintf(at, MOST_CHARACTERS, "%.*f", decimals, value);
    uint64_t whole = (uint64_t)scaled;
    /* With what the product has lost to rounding; halves go to even numbers. */
    const double rest = scaled - (double)whole + fma(fabs(value), powers[decimals], -scaled);
    whole += rest > 0.5 || (rest == 0.5 && whole % 2);
    if (signbit(value))
        *at++ = '-';
    char digits[24];
    int n = 0;
    do {
        digits[n++] = (char)('0' + whole % 10);
        whole /= 10;
        if (n == decimals)
            digits[n++] = '.';
    } while (whole || n <= decimals + (decimals > 0));
    while (n)
        *at++ = digits[--n];
    return at;
}

/* Rows of numbers (columns of `n` in `values`), separated by blanks; the length of the text, or -1. */
static ptrdiff_t format_rows(const double *values, ptrdiff_t n_columns, ptrdiff_t n, const int32_t *decimals, char **text)
{
    size_t capacity = 4096, length = 0;
    char *room = malloc(capacity);
    for (ptrdiff_t row = 0; row < n && room != NULL; row++)
        for (ptrdiff_t column = 0; column < n_columns; column++) {
            if (capacity - length < MOST_CHARACTERS + 2) {
                char *larger = realloc(room, capacity *= 2);
                if (larger == NULL)
                    free(room);
                room = larger;
                if (room == NULL)
                    break;
            }
            char *end = format_number(values[column * n + row], decimals[column], room + length);
            *end++ = column + 1 < n_columns ? ' ' : '\n';
            length = (size_t)(end - room);
        }
    *text = room;
    return room == NULL ? -1 : (ptrdiff_t)length;
}

/* ------------------------------------------------------------------ Python */

typedef struct {
    Py_buffer views[8];
    int n;
} Buffers;

static void release_buffers(Buffers *buffers)
{
    for (int i = 0; i < buffers->n; i++)
        PyBuffer_Release(&buffers->views[i]);
}

/* Get a C-contiguous array of a type ('f', 'd', 'i' or 'h') and number of dimensions; NULL with an exception. */
static Py_buffer *get_array(Buffers *buffers, PyObject *object, const char *name, char type, int n_dimensions,
                            int writable)
{
    Py_buffer *view = &buffers->views[buffers->n];
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return NULL;
    buffers->n++;
    const char *format = view->format != NULL ? view->format : "B";
    const int same = strlen(format) == 1 && (*format == type || (type == 'i' && *format == 'l'))
                     && view->itemsize == (type == 'd' ? 8 : type == 'h' ? 2 : 4);
    if (same && view->ndim == n_dimensions)
        return view;
    PyErr_Format(PyExc_ValueError, "%s: found %d dimensions of type '%s', expected %d of type '%c'", name, view->ndim,
                 format, n_dimensions, type);
    return NULL;
}

static int check(int right, const char *message)
{
    if (!right)
        PyErr_SetString(PyExc_ValueError, message);
    return right;
}

static int same_shape(const Py_buffer *a, const Py_buffer *b)
{
    return a->shape[0] == b->shape[0] && a->shape[1] == b->shape[1];
}

static PyObject *end_call(Buffers *buffers, int status, PyObject *result)
{
    release_buffers(buffers);
    if (status < 0 && !PyErr_Occurred())
        PyErr_NoMemory();
    if (PyErr_Occurred()) {
        Py_XDECREF(result);
        return NULL;
    }
    return result != NULL ? result : Py_NewRef(Py_None);
}

PyDoc_STRVAR(read_rows_doc,
             "read_rows(descriptor, start, stride, out)\n--\n\n"
             "Fill the rows of `out` with big-endian pixels from a file; they begin `stride` bytes after one another.\n"
             "False if the file ends before.");

static PyObject *py_read_rows(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *out;
    int descriptor, status = -1;
    long long start, stride;
    if (!PyArg_ParseTuple(arguments, "iLLO:read_rows", &descriptor, &start, &stride, &out))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *o = get_array(&buffers, out, "out", 'f', 2, 1);
    if (o != NULL) {
        int number = 0;
        Py_BEGIN_ALLOW_THREADS
        status = read_rows(descriptor, (off_t)start, (off_t)stride, o->shape[0], o->shape[1], o->buf);
        number = errno;
        Py_END_ALLOW_THREADS
        if (status < 0) {
            errno = number;
            PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    return end_call(&buffers, status, status < 0 ? NULL : PyBool_FromLong(status == 0));
}

PyDoc_STRVAR(find_flagged_doc, "find_flagged(flags, mask, first_row)\n--\n\n"
                               "Rows (counted from `first_row`) and columns of the flags that have a bit of the mask, as bytes of\n"
                               "pairs of 32-bit numbers.");

static PyObject *py_find_flagged(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *flags, *result = NULL;
    int mask;
    Py_ssize_t first_row;
    if (!PyArg_ParseTuple(arguments, "Oin:find_flagged", &flags, &mask, &first_row))
        return NULL;
    Buffers buffers = {.n = 0};
    List found = {0};
    Py_buffer *f = get_array(&buffers, flags, "flags", 'h', 2, 0);
    if (f != NULL) {
        Py_BEGIN_ALLOW_THREADS
        find_flagged(f->buf, f->shape[0], f->shape[1], (int16_t)mask, first_row, &found);
        Py_END_ALLOW_THREADS
        if (!found.failed)
            result = PyBytes_FromStringAndSize(found.items ? (char *)found.items : "",
                                               (Py_ssize_t)(found.n * sizeof(int32_t)));
    }
    free(found.items);
    return end_call(&buffers, result == NULL ? -1 : 0, result);
}

PyDoc_STRVAR(box_statistics_doc,
             "box_statistics(science, weight, box, step, n_sigma, iterations, out)\n--\n\n"
             "Fill `out` (boxes down, boxes across, 5) with the clipped mean, median and deviation of each box,\n"
             "its noise at weight 1, and the fraction of its pixels that count. The rows are every `step`-th one of\n"
             "the band.");

static PyObject *py_box_statistics(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science, *weight, *out;
    Py_ssize_t box, step;
    double n_sigma;
    int iterations, status = -1;
    if (!PyArg_ParseTuple(arguments, "OOnndiO:box_statistics", &science, &weight, &box, &step, &n_sigma, &iterations,
                          &out))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *s = get_array(&buffers, science, "science", 'f', 2, 0);
    Py_buffer *w = s ? get_array(&buffers, weight, "weight", 'f', 2, 0) : NULL;
    Py_buffer *o = w ? get_array(&buffers, out, "out", 'd', 3, 1) : NULL;
    if (o != NULL && check(box > 0 && step > 0 && step <= box, "expected 0 < step <= box")
        && check(same_shape(s, w) && s->shape[0] <= (o->shape[0] * box + step - 1) / step
                     && o->shape[1] == (s->shape[1] + box - 1) / box && o->shape[2] == BOX_FIELDS,
                 "the shapes of science, weight and out do not go together")) {
        Py_BEGIN_ALLOW_THREADS
        status = box_statistics(s->buf, w->buf, s->shape[0], s->shape[1], box, o->shape[0], o->shape[1], step, n_sigma,
                                iterations, o->buf);
        Py_END_ALLOW_THREADS
    }
    return end_call(&buffers, status, NULL);
}

/* Read what makes a band: science, weight, levels, noises, first knot, knot spacing, across, down. */
static int get_band(Buffers *buffers, PyObject *parts[6], double first_knot, double knot_spacing, Band *band)
{
    static const char *names[6] = {"science", "weight", "levels", "noises", "across", "down"};
    Py_buffer *views[6];
    for (int i = 0; i < 6; i++)
        if ((views[i] = get_array(buffers, parts[i], names[i], 'f', 2, 0)) == NULL)
            return 0;
    if (!check(same_shape(views[0], views[1]) && same_shape(views[2], views[3]) && same_shape(views[4], views[5])
                   && views[2]->shape[1] == views[0]->shape[1] && views[2]->shape[0] > 0 && knot_spacing > 0.0
                   && views[4]->shape[0] > 0 && views[4]->shape[0] <= MAX_TERMS && views[4]->shape[1] % 2
                   && views[4]->shape[1] <= MAX_TAPS,
               "the shapes of the band, its mesh and its filter do not go together"))
        return 0;
    *band = (Band){.science = views[0]->buf,
                   .weight = views[1]->buf,
                   .rows = views[0]->shape[0],
                   .columns = views[0]->shape[1],
                   .levels = views[2]->buf,
                   .noises = views[3]->buf,
                   .n_knots = views[2]->shape[0],
                   .first_knot = first_knot,
                   .knot_spacing = knot_spacing,
                   .across = views[4]->buf,
                   .down = views[5]->buf,
                   .n_terms = views[4]->shape[0],
                   .n_taps = views[4]->shape[1]};
    return 1;
}

PyDoc_STRVAR(find_pixels_doc,
             "find_pixels(science, weight, levels, noises, across, down, first_knot, knot_spacing, first, last,\n"
             "            segment, peak)\n--\n\n"
             "Filter rows `first` to `last` of a band; give the runs (row, start, stop) of pixels above `segment`\n"
             "times the noise, and the peaks (row, column, bits of the height) above `peak` times the noise, as bytes\n"
             "of int32.");

static PyObject *py_find_pixels(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *parts[6], *result = NULL;
    double first_knot, knot_spacing, segment, peak;
    Py_ssize_t first, last;
    int status = -1;
    if (!PyArg_ParseTuple(arguments, "OOOOOOddnndd:find_pixels", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4],
                          &parts[5], &first_knot, &knot_spacing, &first, &last, &segment, &peak))
        return NULL;
    Buffers buffers = {.n = 0};
    Band band;
    List runs = {0}, peaks = {0};
    if (get_band(&buffers, parts, first_knot, knot_spacing, &band)
        && check(first >= 0 && first <= last && last <= band.rows, "first, last: no rows of the band")) {
        Py_BEGIN_ALLOW_THREADS
        status = find_pixels(&band, first, last, segment, peak, &runs, &peaks);
        Py_END_ALLOW_THREADS
        if (status == 0)
            result = Py_BuildValue("y#y#", runs.items ? (char *)runs.items : "",
                                   (Py_ssize_t)(runs.n * sizeof(int32_t)), peaks.items ? (char *)peaks.items : "",
                                   (Py_ssize_t)(peaks.n * sizeof(int32_t)));
    }
    free(runs.items), free(peaks.items);
    return end_call(&buffers, status, result);
}

PyDoc_STRVAR(filter_band_doc,
             "filter_band(science, weight, levels, noises, across, down, first_knot, knot_spacing, subtracted, filtered)"
             "\n--\n\n"
             "Fill two planes: the band less its background (0 where there are no data), and that filtered. The second\n"
             "may be None.");

static PyObject *py_filter_band(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *parts[6], *planes[2];
    double first_knot, knot_spacing;
    int status = -1;
    if (!PyArg_ParseTuple(arguments, "OOOOOOddOO:filter_band", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4],
                          &parts[5], &first_knot, &knot_spacing, &planes[0], &planes[1]))
        return NULL;
    Buffers buffers = {.n = 0};
    Band band;
    if (get_band(&buffers, parts, first_knot, knot_spacing, &band)) {
        Py_buffer *subtracted = get_array(&buffers, planes[0], "subtracted", 'f', 2, 1);
        Py_buffer *filtered = subtracted == NULL || planes[1] == Py_None
                                  ? NULL
                                  : get_array(&buffers, planes[1], "filtered", 'f', 2, 1);
        if (subtracted != NULL && (filtered != NULL || planes[1] == Py_None)
            && check(same_shape(subtracted, &buffers.views[0])
                         && (filtered == NULL || same_shape(filtered, &buffers.views[0])),
                     "the planes do not have the shape of the band")) {
            float *out = subtracted->buf, *smooth = filtered != NULL ? filtered->buf : NULL;
            Py_BEGIN_ALLOW_THREADS
            Filter filter = {0};
            status = start_filter(&filter, &band, 0);
            for (ptrdiff_t y = 0; y < band.rows && status == 0; y++) {
                mesh_row(&band, band.levels, y, filter.level);
                subtract_row(band.science + y * band.columns, band.weight + y * band.columns, filter.level,
                             band.columns, out + y * band.columns);
            }
            for (ptrdiff_t y = 0; y < band.rows && status == 0 && smooth != NULL; y++)
                filter_row(&filter, y, smooth + y * band.columns);
            end_filter(&filter);
            Py_END_ALLOW_THREADS
        }
    }
    return end_call(&buffers, status, NULL);
}

PyDoc_STRVAR(connect_runs_doc, "connect_runs(runs, labels)\n--\n\n"
                               "Number the components that runs of pixels make, from 0; give how many there are.");

static PyObject *py_connect_runs(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *runs, *labels;
    long found = -1;
    if (!PyArg_ParseTuple(arguments, "OO:connect_runs", &runs, &labels))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *r = get_array(&buffers, runs, "runs", 'i', 2, 0);
    Py_buffer *l = r ? get_array(&buffers, labels, "labels", 'i', 1, 1) : NULL;
    if (l != NULL && check(r->shape[1] == 3 && r->shape[0] == l->shape[0] && r->shape[0] < INT32_MAX,
                           "expected runs of shape (n, 3) and n labels")) {
        Py_BEGIN_ALLOW_THREADS
        found = connect_runs(r->buf, (int32_t)r->shape[0], l->buf);
        Py_END_ALLOW_THREADS
    }
    return end_call(&buffers, 0, found < 0 ? NULL : PyLong_FromLong(found));
}

PyDoc_STRVAR(paint_runs_doc, "paint_runs(runs, labels, image, row, column)\n--\n\n"
                             "Write each run's label into an image whose first pixel is at a row and column.");

static PyObject *py_paint_runs(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *runs, *labels, *image;
    Py_ssize_t row, column;
    if (!PyArg_ParseTuple(arguments, "OOOnn:paint_runs", &runs, &labels, &image, &row, &column))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *r = get_array(&buffers, runs, "runs", 'i', 2, 0);
    Py_buffer *l = r ? get_array(&buffers, labels, "labels", 'i', 1, 0) : NULL;
    Py_buffer *p = l ? get_array(&buffers, image, "image", 'i', 2, 1) : NULL;
    if (p != NULL && check(r->shape[1] == 3 && r->shape[0] == l->shape[0], "expected runs of shape (n, 3) and n labels")) {
        Py_BEGIN_ALLOW_THREADS
        const int32_t *run = r->buf, *label = l->buf;
        int32_t *pixels = p->buf;
        for (ptrdiff_t i = 0; i < r->shape[0]; i++, run += 3) {
            const ptrdiff_t y = run[0] - row;
            const ptrdiff_t start = run[1] > column ? run[1] - column : 0;
            const ptrdiff_t stop = run[2] - column < p->shape[1] ? run[2] - column : p->shape[1];
            for (ptrdiff_t x = start; y >= 0 && y < p->shape[0] && x < stop; x++)
                pixels[y * p->shape[1] + x] = label[i];
        }
        Py_END_ALLOW_THREADS
    }
    return end_call(&buffers, 0, NULL);
}

PyDoc_STRVAR(deblend_doc, "deblend(filtered, labels, label, least_area, contrast, n_levels, objects)\n--\n\n"
                          "Number the objects that the pixels of one label consist of, from 0 (-1 for other pixels);\n"
                          "give how many there are.");

static PyObject *py_deblend(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *filtered, *labels, *objects;
    int label, least_area;
    double contrast, n_levels;
    long found = 0;
    int status = 0;
    if (!PyArg_ParseTuple(arguments, "OOiiddO:deblend", &filtered, &labels, &label, &least_area, &contrast, &n_levels,
                          &objects))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *f = get_array(&buffers, filtered, "filtered", 'f', 2, 0);
    Py_buffer *l = f ? get_array(&buffers, labels, "labels", 'i', 2, 0) : NULL;
    Py_buffer *o = l ? get_array(&buffers, objects, "objects", 'i', 2, 1) : NULL;
    if (o != NULL && check(same_shape(f, l) && same_shape(f, o) && f->shape[0] * f->shape[1] < INT32_MAX,
                           "the planes are not of one shape")) {
        Py_BEGIN_ALLOW_THREADS
        found = deblend(f->buf, l->buf, f->shape[0], f->shape[1], label, least_area, contrast, n_levels, o->buf);
        Py_END_ALLOW_THREADS
        status = found < 0 ? -1 : 0;
    }
    return end_call(&buffers, status, PyErr_Occurred() ? NULL : PyLong_FromLong(found));
}

PyDoc_STRVAR(measure_segments_doc, "measure_segments(values, weight, labels, out)\n--\n\n"
                                   "Fill `out` (12 columns, a row a label from 1) with area, flux, sum of weights,\n"
                                   "centroid, second moments and limits.");

static PyObject *py_measure_segments(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values, *weight, *labels, *out;
    int status = 0;
    if (!PyArg_ParseTuple(arguments, "OOOO:measure_segments", &values, &weight, &labels, &out))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *v = get_array(&buffers, values, "values", 'f', 2, 0);
    Py_buffer *w = v ? get_array(&buffers, weight, "weight", 'f', 2, 0) : NULL;
    Py_buffer *l = w ? get_array(&buffers, labels, "labels", 'i', 2, 0) : NULL;
    Py_buffer *o = l ? get_array(&buffers, out, "out", 'd', 2, 1) : NULL;
    if (o != NULL && check(same_shape(v, w) && same_shape(v, l) && o->shape[1] == SEGMENT_FIELDS,
                           "the planes are not of one shape, or out does not have 12 columns")) {
        const ptrdiff_t n = o->shape[0];
        Py_BEGIN_ALLOW_THREADS
        double *work = calloc((size_t)(n * (SEGMENT_FIELDS + 3)) + 1, sizeof *work);
        status = work == NULL ? -1 : 0;
        if (work != NULL) {
            measure_segments(v->buf, w->buf, l->buf, v->shape[0], v->shape[1], n, work);
            memcpy(o->buf, work, (size_t)(n * SEGMENT_FIELDS) * sizeof *work);
        }
        free(work);
        Py_END_ALLOW_THREADS
    }
    return end_call(&buffers, status, NULL);
}

PyDoc_STRVAR(measure_surroundings_doc,
             "measure_surroundings(values, weight, positions, radius_1, radius_2, inner, outer, n_sigma, iterations,\n"
             "sigma, out)\n--\n\n"
             "Fill `out` (14 columns, a row a position x, y) with the clipped mean, median, deviation and number of\n"
             "pixels of the annulus, with the mean and least weight and the number of holes in the outer aperture, with\n"
             "the variance of the light along its narrowest direction under a Gaussian window of width sigma, and\n"
             "for each aperture with the sums of 1 / weight, of light / weight, and of the curvature of the light times\n"
             "the part of the greatest weight that a pixel lacks.");

static PyObject *py_measure_surroundings(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values, *weight, *positions, *out;
    double radii[2], inner, outer, n_sigma, sigma;
    int iterations, status = -1;
    if (!PyArg_ParseTuple(arguments, "OOOdddddidO:measure_surroundings", &values, &weight, &positions, &radii[0],
                          &radii[1], &inner, &outer, &n_sigma, &iterations, &sigma, &out))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *v = get_array(&buffers, values, "values", 'f', 2, 0);
    Py_buffer *w = v ? get_array(&buffers, weight, "weight", 'f', 2, 0) : NULL;
    Py_buffer *p = w ? get_array(&buffers, positions, "positions", 'd', 2, 0) : NULL;
    Py_buffer *o = p ? get_array(&buffers, out, "out", 'd', 2, 1) : NULL;
    if (o != NULL && check(same_shape(v, w) && p->shape[1] == 2 && o->shape[0] == p->shape[0]
                               && o->shape[1] == SKY_FIELDS && radii[0] >= 0.0 && radii[1] >= radii[0]
                               && outer >= inner && inner >= 0.0 && sigma > 0.0,
                           "the shapes do not go together, or the radii are impossible")) {
        const Image image = {v->buf, w->buf, v->shape[0], v->shape[1]};
        Py_BEGIN_ALLOW_THREADS
        status = measure_surroundings(&image, p->buf, p->shape[0], radii, inner, outer, n_sigma, iterations, sigma,
                                      o->buf);
        Py_END_ALLOW_THREADS
    }
    return end_call(&buffers, status, NULL);
}

PyDoc_STRVAR(refine_positions_doc, "refine_positions(values, positions, sigma, reach)\n--\n\n"
                                   "Move positions (x, y) to the centres of light under a Gaussian window, by `reach`\n"
                                   "pixels at most.");

static PyObject *py_refine_positions(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values, *positions;
    double sigma, reach;
    if (!PyArg_ParseTuple(arguments, "OOdd:refine_positions", &values, &positions, &sigma, &reach))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *v = get_array(&buffers, values, "values", 'f', 2, 0);
    Py_buffer *p = v ? get_array(&buffers, positions, "positions", 'd', 2, 1) : NULL;
    if (p != NULL && check(p->shape[1] == 2 && sigma > 0.0, "expected positions of shape (n, 2) and a positive sigma")) {
        Py_BEGIN_ALLOW_THREADS
        refine_positions(v->buf, v->shape[0], v->shape[1], p->buf, p->shape[0], sigma, reach);
        Py_END_ALLOW_THREADS
    }
    return end_call(&buffers, 0, NULL);
}

PyDoc_STRVAR(format_rows_doc, "format_rows(values, decimals)\n--\n\n"
                              "The columns of a table, (columns, rows), as text: numbers with so many decimals (0 to 9),\n"
                              "separated by blanks, and a line a row.");

static PyObject *py_format_rows(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values, *decimals, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "OO:format_rows", &values, &decimals))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *v = get_array(&buffers, values, "values", 'd', 2, 0);
    Py_buffer *d = v ? get_array(&buffers, decimals, "decimals", 'i', 1, 0) : NULL;
    int is_good = d != NULL && check(d->shape[0] == v->shape[0], "values and decimals are not of one shape");
    for (ptrdiff_t i = 0; is_good && i < d->shape[0]; i++)
        is_good = check(((int32_t *)d->buf)[i] >= 0 && ((int32_t *)d->buf)[i] <= 9, "expected 0 to 9 decimals");
    if (is_good) {
        char *text = NULL;
        ptrdiff_t length = 0;
        Py_BEGIN_ALLOW_THREADS
        length = format_rows(v->buf, v->shape[0], v->shape[1], d->buf, &text);
        Py_END_ALLOW_THREADS
        if (length >= 0)
            result = PyBytes_FromStringAndSize(text, length);
        free(text);
    }
    return end_call(&buffers, result == NULL ? -1 : 0, result);
}

static PyMethodDef methods[] = {
    {"box_statistics", py_box_statistics, METH_VARARGS, box_statistics_doc},
    {"connect_runs", py_connect_runs, METH_VARARGS, connect_runs_doc},
    {"deblend", py_deblend, METH_VARARGS, deblend_doc},
    {"filter_band", py_filter_band, METH_VARARGS, filter_band_doc},
    {"find_flagged", py_find_flagged, METH_VARARGS, find_flagged_doc},
    {"find_pixels", py_find_pixels, METH_VARARGS, find_pixels_doc},
    {"format_rows", py_format_rows, METH_VARARGS, format_rows_doc},
    {"measure_segments", py_measure_segments, METH_VARARGS, measure_segments_doc},
    {"measure_surroundings", py_measure_surroundings, METH_VARARGS, measure_surroundings_doc},
    {"paint_runs", py_paint_runs, METH_VARARGS, paint_runs_doc},
    {"read_rows", py_read_rows, METH_VARARGS, read_rows_doc},
    {"refine_positions", py_refine_positions, METH_VARARGS, refine_positions_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "multivisit.catalogs._pixels",
    .m_doc = "The loops over pixels of the source catalogs.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__pixels(void)
{
    return PyModuleDef_Init(&definition);
}
