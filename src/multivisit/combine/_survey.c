/* Passes over the pixels of one chip, for the static masks and the sky; see weights.py and sky_samples.py.
 *
 * All arrays are contiguous and come in through the buffer protocol; the global interpreter lock is released.
 */

#include "_arrays.h"

#include <stdlib.h>

/* ------------------------------------------------------------------ statistics of a sample */

static inline __attribute__((always_inline)) ptrdiff_t pick_row(const float *science, const unsigned char *good,
                                                                ptrdiff_t n, ptrdiff_t step, float *out)
{
    int32_t n_good = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        out[i] = good[i * step] ? science[i * step] : NAN;
        n_good += good[i * step];
    }
    return n_good;
}

/* Every step-th pixel of every step-th row, NaN for those that are not good; gives the number of good ones. */
BUILDS
static ptrdiff_t pick(const float *science, const unsigned char *good, ptrdiff_t rows, ptrdiff_t columns,
                      ptrdiff_t step, float *out)
{
    const ptrdiff_t n = (columns + step - 1) / step;
    ptrdiff_t n_good = 0;
    for (ptrdiff_t row = 0; row < rows; row += step, out += n) {
        const float *from = science + row * columns;
        const unsigned char *use = good + row * columns;
        switch (step) {
        case 1:
            n_good += pick_row(from, use, n, 1, out);
            break;
        case 2:
            n_good += pick_row(from, use, n, 2, out);
            break;
        default:
            n_good += pick_row(from, use, n, step, out);
        }
    }
    return n_good;
}

typedef struct {
    ptrdiff_t n;
    double mean, sigma;
    float low, high;
} Spread;

#define CHUNK 1024

/* Copy the values between two limits, with another value in the place of the others; gives their number. */
BUILDS
static int32_t keep_between(const float *values, ptrdiff_t n, float low, float high, float other, float *kept)
{
    int32_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const int inside = (values[i] >= low) & (values[i] <= high);
        kept[i] = inside ? values[i] : other;
        count += inside;
    }
    return count;
}

BUILDS
static void add_differences(const float values[CHUNK], double from, double *sum, double *square)
{
    double sums[LANES] = {0.0}, squares[LANES] = {0.0};
    for (ptrdiff_t i = 0; i < CHUNK; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            const double difference = (double)values[i + k] - from;
            sums[k] += difference;
            squares[k] += difference * difference;
        }
    }
    for (int k = 0; k < LANES; k++) {
        *sum += sums[k];
        *square += squares[k];
    }
}

/* Number, mean and standard deviation of the values between two limits, given some value near the mean. */
static Spread spread_between(const float *values, ptrdiff_t n, float low, float high, float near)
{
    double sum = 0.0, square = 0.0;
    float kept[CHUNK];
    Spread found = {.n = 0};
    for (ptrdiff_t first = 0; first < n; first += CHUNK) {
        const ptrdiff_t m = MIN(n - first, CHUNK);
        found.n += keep_between(values + first, m, low, high, near, kept);
        for (ptrdiff_t i = m; i < CHUNK; i++)
            kept[i] = near;
        add_differences(kept, (double)near, &sum, &square);
    }
    if (found.n > 0) {
        const double mean = sum / (double)found.n;
        found.mean = (double)near + mean;
        found.sigma = found.n > 1 ? sqrt(MAX(square - mean * sum, 0.0) / (double)(found.n - 1)) : 0.0;
    }
    return found;
}

/* Least and largest of the values between two limits. */
BUILDS
static void find_range(const float *values, ptrdiff_t n, float low, float high, Spread *found)
{
    float least[LANES], most[LANES];
    for (int k = 0; k < LANES; k++) {
        least[k] = INFINITY;
        most[k] = -INFINITY;
    }
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        /* The last values are looked at twice. */
        const float *some = values + (n < LANES ? 0 : MIN(i, n - LANES));
        for (int k = 0; k < MIN(n, LANES); k++) {
            const float smaller = some[k] >= low ? some[k] : INFINITY, larger = some[k] <= high ? some[k] : -INFINITY;
            least[k] = smaller < least[k] ? smaller : least[k];
            most[k] = larger > most[k] ? larger : most[k];
        }
    }
    found->low = INFINITY;
    found->high = -INFINITY;
    for (int k = 0; k < LANES; k++) {
        found->low = MIN(found->low, least[k]);
        found->high = MAX(found->high, most[k]);
    }
}

/* The last float on one side of the mean that is within a distance of it, by the rounding of float64. */
static float last_within(double mean, double distance, float side)
{
    float value = (float)(mean + (side > 0.0f ? distance : -distance));
    for (int k = 0; k < 4 && fabs((double)nextafterf(value, side) - mean) <= distance; k++)
        value = nextafterf(value, side);
    for (int k = 0; k < 4 && !(fabs((double)value - mean) <= distance); k++)
        value = nextafterf(value, -side);
    return value;
}

static Spread clip(const float *values, ptrdiff_t n, int n_clips, double most_sigma)
{
    float low = -INFINITY, high = INFINITY;
    Spread found = spread_between(values, MIN(n, CHUNK), low, high, 0.0f);
    for (int clip = 0;; clip++) {
        found = spread_between(values, n, low, high, (float)found.mean);
        if (clip == n_clips || found.n < 2) {
            find_range(values, n, low, high, &found);
            return found;
        }
        low = MAX(low, last_within(found.mean, most_sigma * found.sigma, -INFINITY));
        high = MIN(high, last_within(found.mean, most_sigma * found.sigma, INFINITY));
    }
}

/* The bin of each value is the one whose edges hold it, whatever the rounding of the division. */
BUILDS
static void find_bins(const float *values, ptrdiff_t n, float low, float high, const double *edges, int32_t n_bins,
                      int32_t *bins)
{
    const double start = edges[0], end = edges[n_bins], scale = (double)n_bins / (end - start);
    for (ptrdiff_t i = 0; i < n; i++) {
        const double value = (double)values[i];
        const int inside = (values[i] >= low) & (values[i] <= high) & (value >= start) & (value <= end);
        int32_t bin = (int32_t)(inside ? (value - start) * scale : 0.0);
        bin = MIN(bin, n_bins - 1);
        bin -= (bin > 0) & (value < edges[bin]);
        bin += (bin < n_bins - 1) & (value >= edges[bin + 1]);
        bins[i] = inside ? bin : n_bins;
    }
}

#define TABLES 4

/* Neighbours count in different tables, so that none waits for the one before it. */
static void count_bins(const float *values, ptrdiff_t n, float low, float high, const double *edges,
                       int32_t n_bins, uint32_t *tables, int64_t *counts)
{
    int32_t bins[CHUNK];
    const ptrdiff_t size = n_bins + 1;
    for (ptrdiff_t first = 0; first < n; first += CHUNK) {
        const ptrdiff_t m = MIN(n - first, CHUNK);
        find_bins(values + first, m, low, high, edges, n_bins, bins);
        for (ptrdiff_t i = 0; i < m; i++)
            tables[i % TABLES * size + bins[i]]++;
    }
    for (ptrdiff_t bin = 0; bin < n_bins; bin++) {
        for (int k = 0; k < TABLES; k++)
            counts[bin] += tables[k * size + bin];
    }
}

/* ------------------------------------------------------------------ low pixels */

#define FEW 256

BUILDS
static ptrdiff_t count_low(const float *science, const unsigned char *good, ptrdiff_t n, float limit,
                           ptrdiff_t *n_good)
{
    int32_t n_low = 0, all = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        n_low += good[i] & (science[i] < limit);
        all += good[i];
    }
    *n_good += all;
    return n_low;
}

static void find_low(const float *science, const unsigned char *good, ptrdiff_t n, float limit, int64_t *places,
                     ptrdiff_t room, ptrdiff_t found[2])
{
    for (ptrdiff_t first = 0; first < n; first += FEW) {
        const ptrdiff_t m = MIN(n - first, FEW);
        const ptrdiff_t n_low = count_low(science + first, good + first, m, limit, &found[1]);
        ptrdiff_t next = found[0];
        found[0] += n_low;
        if (n_low == 0 || found[0] > room)
            continue;
        for (ptrdiff_t i = first; i < first + m; i++) {
            if (good[i] && science[i] < limit)
                places[next++] = i;
        }
    }
}

/* ------------------------------------------------------------------ medians */

static int compare(const void *one, const void *other)
{
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Move the value of a rank to its place, smaller ones before it and larger ones behind it. */
static void select_rank(double *values, ptrdiff_t n, ptrdiff_t rank)
{
    ptrdiff_t first = 0, last = n - 1;
    while (last > first) {
        double some[3] = {values[first], values[first + (last - first) / 2], values[last]};
        qsort(some, 3, sizeof(double), compare);
        const double pivot = some[1];
        ptrdiff_t less = first, at = first, more = last;
        while (at <= more) {
            const double value = values[at];
            if (value < pivot) {
                values[at++] = values[less];
                values[less++] = value;
            } else if (value > pivot) {
                values[at] = values[more];
                values[more--] = value;
            } else {
                at++;
            }
        }
        if (rank < less)
            last = less - 1;
        else if (rank > more)
            first = more + 1;
        else
            return;
    }
}

#define SAMPLE 1024
#define REACH 64

/* Median of values, whose order changes; `scratch` has room for as many. A sample tells between which values the
 * median lies, and few have to be looked at closely. */
static double median_of(double *values, ptrdiff_t n, double *scratch)
{
    ptrdiff_t low = (n - 1) / 2, high = n / 2;
    if (n > 8 * SAMPLE) {
        double some[SAMPLE];
        for (ptrdiff_t k = 0; k < SAMPLE; k++)
            some[k] = values[k * (n / SAMPLE)];
        qsort(some, SAMPLE, sizeof(double), compare);
        const double least = some[SAMPLE / 2 - REACH], most = some[SAMPLE / 2 + REACH];
        ptrdiff_t below = 0, between = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const double value = values[i];
            scratch[between] = value;
            between += (value >= least) & (value <= most);
            below += value < least;
        }
        if (low >= below && high < below + between) {
            values = scratch;
            n = between;
            low -= below;
            high -= below;
        }
    }
    select_rank(values, n, low);
    double next = values[low];
    if (high > low) {
        next = values[high];
        for (ptrdiff_t i = high + 1; i < n; i++)
            next = MIN(next, values[i]);
    }
    return 0.5 * (values[low] + next);
}

#define KEYS 64

/* Integers that sort as the floats do. */
static inline uint32_t ordered(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static inline double value_of(uint32_t key)
{
    const uint32_t bits = key >> 31 ? key & 0x7FFFFFFFu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static inline __attribute__((always_inline)) double bisect(const uint32_t *keys, ptrdiff_t n_padded, ptrdiff_t n)
{
    const int32_t low_rank = (int32_t)(n - 1) / 2, high_rank = (int32_t)n / 2;
    uint32_t low = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const uint32_t candidate = low | (uint32_t)1 << bit;
        int32_t less = 0;
        for (ptrdiff_t i = 0; i < n_padded; i++)
            less += keys[i] < candidate;
        low = less <= low_rank ? candidate : low;
    }
    int32_t up_to = 0;
    uint32_t next = UINT32_MAX;
    for (ptrdiff_t i = 0; i < n_padded; i++) {
        up_to += keys[i] <= low;
        next = keys[i] > low && keys[i] < next ? keys[i] : next;
    }
    return 0.5 * (value_of(low) + value_of(up_to > high_rank ? low : next));
}

/* ------------------------------------------------------------------ sky */

/* Median of n values given as ordered integers, followed by the largest integer up to a multiple of KEYS. */
BUILDS
static double median_of_keys(const uint32_t *keys, ptrdiff_t n_padded, ptrdiff_t n)
{
    return n_padded == KEYS ? bisect(keys, KEYS, n) : bisect(keys, n_padded, n);
}

typedef struct {
    const float *science;
    const unsigned char *usable;
    const double *level;
    ptrdiff_t width, rows, columns, block, per_level;
} Image;

/* The median of one pixel of each block in areas of blocks, and the differences of these pixels from it. */
static ptrdiff_t local_levels(const Image *image, double *level, double *differences, uint32_t *keys)
{
    const ptrdiff_t per = image->per_level, block = image->block;
    ptrdiff_t n_differences = 0;
    for (ptrdiff_t row = 0; row < image->rows; row += per) {
        for (ptrdiff_t column = 0; column < image->columns; column += per, level++) {
            double *first = differences + n_differences;
            ptrdiff_t n = 0;
            for (ptrdiff_t r = row; r < MIN(row + per, image->rows); r++) {
                const ptrdiff_t at = (r * block + block / 2) * image->width + block / 2;
                for (ptrdiff_t c = column; c < MIN(column + per, image->columns); c++) {
                    const float value = image->science[at + c * block];
                    keys[n] = ordered(value);
                    first[n] = (double)value;
                    n += image->usable[at + c * block];
                }
            }
            if (n == 0) {
                *level = NAN;
                continue;
            }
            const ptrdiff_t n_padded = (n + KEYS - 1) / KEYS * KEYS;
            for (ptrdiff_t i = n; i < n_padded; i++)
                keys[i] = UINT32_MAX;
            *level = median_of_keys(keys, n_padded, n);
            for (ptrdiff_t i = 0; i < n; i++)
                first[i] -= *level;
            n_differences += n;
        }
    }
    return n_differences;
}

/* Memory for one row of blocks. */
typedef struct {
    float *near, *sums;
    int32_t *kept, *all, *intervals, *nodes;
    double *total, *pixels, *clipped, *fractions, *weights, *knots;
} Row;

/* Sums over the rows of a row of blocks, for each column, and then over the columns of each block. */
static inline __attribute__((always_inline)) void sum_row(const Image *image, ptrdiff_t row, const ptrdiff_t block,
                                                          const float *near, float limit, float *restrict sums,
                                                          int32_t *restrict kept_sums, int32_t *restrict all_sums,
                                                          double *restrict total, double *restrict pixels,
                                                          double *restrict clipped)
{
    const ptrdiff_t n = image->columns * block, width = image->width;
    const float *values = image->science + row * block * width;
    const unsigned char *use = image->usable + row * block * width;
    for (ptrdiff_t i = 0; i < n; i++) {
        float sum = 0.0f;
        int32_t kept = 0, all = 0;
        for (ptrdiff_t k = 0; k < block; k++) {
            const float difference = values[k * width + i] - near[i];
            const int32_t one = use[k * width + i] & (fabsf(difference) <= limit);
            sum += one ? difference : 0.0f;
            kept += one;
            all += use[k * width + i];
        }
        sums[i] = sum;
        kept_sums[i] = kept;
        all_sums[i] = all;
    }
    for (ptrdiff_t b = 0; b < image->columns; b++) {
        float sum = sums[b * block];
        int32_t kept = kept_sums[b * block], all = all_sums[b * block];
        for (ptrdiff_t k = 1; k < block; k++) {
            sum += sums[b * block + k];
            kept += kept_sums[b * block + k];
            all += all_sums[b * block + k];
        }
        total[b] = (double)sum + (double)kept * (double)near[b * block];
        pixels[b] = (double)kept;
        clipped[b] = (double)(all - kept);
    }
}

BUILDS
static void sum_blocks(const Image *image, ptrdiff_t row, float limit, const Row *memory)
{
    const ptrdiff_t block = image->block, n = image->columns * block;
    const ptrdiff_t level_columns = (image->columns + image->per_level - 1) / image->per_level;
    float *near = memory->near;
    if (row % image->per_level == 0) {
        const double *level = image->level + row / image->per_level * level_columns;
        for (ptrdiff_t i = 0; i < n; i++)
            near[i] = (float)level[i / (image->per_level * block)];
    }
#define SUM_ROW(block)                                                                                         \
    sum_row(image, row, block, near, limit, memory->sums, memory->kept, memory->all, memory->total,            \
            memory->pixels, memory->clipped)
    switch (block) {
    case 2:
        SUM_ROW(2);
        break;
    case 4:
        SUM_ROW(4);
        break;
    default:
        SUM_ROW(block);
    }
#undef SUM_ROW
}

/* Positions on the output plane, given for some rows and columns of blocks. */
typedef struct {
    const double *places[2];
    const double *positions;
    ptrdiff_t n[2];
} Knots;

/* The interval of a block between the knots of one axis, and how far along it is. */
static ptrdiff_t interval_of(const double *places, ptrdiff_t n, ptrdiff_t block, double *fraction)
{
    ptrdiff_t i = 0;
    while (i < n - 2 && places[i + 1] <= (double)block)
        i++;
    *fraction = n < 2 ? 0.0 : ((double)block - places[i]) / (places[i + 1] - places[i]);
    return i;
}

/* A square lattice of nodes, and what is summed up around them. */
typedef struct {
    double start[2], spacing, first[2];
    ptrdiff_t rows, columns;
    double *sums;
} Lattice;

/* The node that is nearest to a position along one axis, and how much the position counts for it. */
static inline double node_of(double position, double start, double spacing, double *weight)
{
    const double along = (position + start) / spacing;
    const double node = floor(along + 0.5);
    *weight = 1.0 - 2.0 * fabs(along - node);
    return node;
}

/* Nodes and weights of a row of blocks; -1 for a block outside the lattice. */
BUILDS
static void find_nodes(const Lattice *lattice, const double *knots_x, const double *knots_y,
                       const int32_t *intervals, const double *fractions, ptrdiff_t n, int32_t *nodes,
                       double *weights)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const int32_t at = intervals[i];
        double along_x, along_y;
        const double x = node_of(knots_x[at] + (knots_x[at + 1] - knots_x[at]) * fractions[i], lattice->start[0],
                                 lattice->spacing, &along_x) - lattice->first[0];
        const double y = node_of(knots_y[at] + (knots_y[at + 1] - knots_y[at]) * fractions[i], lattice->start[1],
                                 lattice->spacing, &along_y) - lattice->first[1];
        const int inside = (x >= 0.0) & (x < (double)lattice->columns) & (y >= 0.0) & (y < (double)lattice->rows);
        const int32_t node = (int32_t)(inside ? y * (double)lattice->columns + x : 0.0);
        nodes[i] = inside ? node : -1;
        weights[i] = along_x * along_y;
    }
}

static void add_to_nodes(const Lattice *lattice, const int32_t *nodes, const double *weights, ptrdiff_t n,
                         const double *total, const double *pixels, const double *clipped)
{
    const ptrdiff_t plane = lattice->rows * lattice->columns;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (nodes[i] < 0)
            continue;
        double *sums = lattice->sums + nodes[i];
        sums[0] += weights[i] * total[i];
        sums[plane] += weights[i] * pixels[i];
        sums[2 * plane] += weights[i] * clipped[i];
    }
}

static void add_blocks(const Image *image, const Knots *knots, const Lattice *lattice, float limit,
                       const Row *memory)
{
    const ptrdiff_t n = image->columns, n_knots = knots->n[1];
    for (ptrdiff_t i = 0; i < n; i++)
        memory->intervals[i] = (int32_t)interval_of(knots->places[1], n_knots, i, &memory->fractions[i]);
    for (ptrdiff_t row = 0; row < image->rows; row++) {
        double fraction;
        const ptrdiff_t at = interval_of(knots->places[0], knots->n[0], row, &fraction);
        const ptrdiff_t next = MIN(at + 1, knots->n[0] - 1);
        for (int axis = 0; axis < 2; axis++) {
            const double *positions = knots->positions + axis * knots->n[0] * n_knots;
            double *along = memory->knots + axis * (n_knots + 1);
            for (ptrdiff_t i = 0; i < n_knots; i++) {
                const double one = positions[at * n_knots + i], other = positions[next * n_knots + i];
                along[i] = one + (other - one) * fraction;
            }
            /* A lone knot has an end as well. */
            along[n_knots] = along[n_knots - 1];
        }
        sum_blocks(image, row, limit, memory);
        find_nodes(lattice, memory->knots, memory->knots + n_knots + 1, memory->intervals, memory->fractions, n,
                   memory->nodes, memory->weights);
        add_to_nodes(lattice, memory->nodes, memory->weights, n, memory->total, memory->pixels, memory->clipped);
    }
}

/* ------------------------------------------------------------------ functions of the module */

static PyObject *py_clip(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *good_object, *values_object;
    Py_ssize_t rows, columns, step;
    int n_clips;
    double most_sigma;
    if (!PyArg_ParseTuple(arguments, "OOnnnidO:clip", &science_object, &good_object, &rows, &columns, &step,
                          &n_clips, &most_sigma, &values_object))
        return NULL;
    if (rows < 0 || columns < 0 || step < 1)
        return PyErr_Format(PyExc_ValueError, "clip: expected an image and a step of at least 1");
    Arrays arrays = {.n = 0};
    const Py_ssize_t n = (rows + step - 1) / step * ((columns + step - 1) / step);
    const float *science = take(&arrays, science_object, "science", rows * columns, 4, 0);
    const unsigned char *good = take(&arrays, good_object, "good", rows * columns, 1, 0);
    float *values = take(&arrays, values_object, "values", n, 4, 1);
    Spread found = {.n = 0};
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        found.n = pick(science, good, rows, columns, step, values);
        if (found.n >= 2)
            found = clip(values, n, n_clips, most_sigma);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL
                            : Py_BuildValue("(ndddd)", found.n, found.mean, found.sigma, (double)found.low,
                                            (double)found.high);
}

static PyObject *py_histogram(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values_object, *edges_object, *counts_object;
    Py_ssize_t n, n_bins;
    float low, high;
    if (!PyArg_ParseTuple(arguments, "OnffOnO:histogram", &values_object, &n, &low, &high, &edges_object, &n_bins,
                          &counts_object))
        return NULL;
    if (n_bins < 1 || n_bins > INT32_MAX - 1)
        return PyErr_Format(PyExc_ValueError, "histogram: expected at least one bin");
    Arrays arrays = {.n = 0};
    const float *values = take(&arrays, values_object, "values", n, 4, 0);
    const double *edges = take(&arrays, edges_object, "edges", n_bins + 1, 8, 0);
    int64_t *counts = take(&arrays, counts_object, "counts", n_bins, 8, 1);
    uint32_t *tables = NULL;
    if (!PyErr_Occurred() && (tables = PyMem_RawCalloc((size_t)(n_bins + 1), TABLES * sizeof(uint32_t))) == NULL)
        PyErr_NoMemory();
    if (tables != NULL) {
        Py_BEGIN_ALLOW_THREADS
        count_bins(values, n, low, high, edges, (int32_t)n_bins, tables, counts);
        Py_END_ALLOW_THREADS
        PyMem_RawFree(tables);
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *py_find_low(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *good_object, *places_object;
    Py_ssize_t n, room;
    float limit;
    if (!PyArg_ParseTuple(arguments, "OOnfOn:find_low", &science_object, &good_object, &n, &limit, &places_object,
                          &room))
        return NULL;
    Arrays arrays = {.n = 0};
    const float *science = take(&arrays, science_object, "science", n, 4, 0);
    const unsigned char *good = take(&arrays, good_object, "good", n, 1, 0);
    int64_t *places = take(&arrays, places_object, "places", room, 8, 1);
    ptrdiff_t found[2] = {0, 0};
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        find_low(science, good, n, limit, places, room, found);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_BuildValue("(nn)", found[0], found[1]);
}

/* Take an image that is cut into blocks, and its levels. */
static Image take_image(Arrays *arrays, PyObject *science, PyObject *usable, PyObject *level, Py_ssize_t width,
                        Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t block, Py_ssize_t per_level, int writable)
{
    Image image = {.width = width, .rows = rows, .columns = columns, .block = block, .per_level = per_level};
    if (rows < 0 || columns < 0 || block < 1 || per_level < 1 || columns * block > width) {
        PyErr_SetString(PyExc_ValueError, "the blocks do not fit into the image");
        return image;
    }
    const Py_ssize_t n_levels = ((rows + per_level - 1) / per_level) * ((columns + per_level - 1) / per_level);
    image.science = take(arrays, science, "science", rows * block * width, 4, 0);
    image.usable = take(arrays, usable, "usable", rows * block * width, 1, 0);
    image.level = take(arrays, level, "level", n_levels, 8, writable);
    return image;
}

static PyObject *py_local_levels(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science, *usable, *level_object, *differences_object;
    Py_ssize_t width, rows, columns, block, per_level;
    if (!PyArg_ParseTuple(arguments, "OOnnnnOnO:local_levels", &science, &usable, &width, &rows, &columns, &block,
                          &level_object, &per_level, &differences_object))
        return NULL;
    Arrays arrays = {.n = 0};
    const Image image =
        take_image(&arrays, science, usable, level_object, width, rows, columns, block, per_level, 1);
    /* One more, as a pixel that is not usable is written before it is overwritten. */
    double *differences = take(&arrays, differences_object, "differences", rows * columns + 1, 8, 1);
    uint32_t *keys = NULL;
    if (!PyErr_Occurred()) {
        keys = PyMem_RawMalloc((size_t)(per_level * per_level + KEYS) * sizeof(uint32_t));
        if (keys == NULL)
            PyErr_NoMemory();
    }
    ptrdiff_t n = 0;
    if (keys != NULL) {
        Py_BEGIN_ALLOW_THREADS
        n = local_levels(&image, (double *)image.level, differences, keys);
        Py_END_ALLOW_THREADS
        PyMem_RawFree(keys);
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *py_median(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values_object;
    Py_ssize_t n;
    int deviation;
    if (!PyArg_ParseTuple(arguments, "Onp:median", &values_object, &n, &deviation))
        return NULL;
    if (n < 1)
        return PyErr_Format(PyExc_ValueError, "median: expected at least one value");
    Arrays arrays = {.n = 0};
    double *values = take(&arrays, values_object, "values", n, 8, 1), *scratch = NULL, median = 0.0;
    if (!PyErr_Occurred() && (scratch = PyMem_RawMalloc((size_t)(n + 1) * sizeof(double))) == NULL)
        PyErr_NoMemory();
    if (scratch != NULL) {
        Py_BEGIN_ALLOW_THREADS
        median = median_of(values, n, scratch);
        if (deviation) {
            for (ptrdiff_t i = 0; i < n; i++)
                values[i] = fabs(values[i] - median);
            median = median_of(values, n, scratch);
        }
        Py_END_ALLOW_THREADS
        PyMem_RawFree(scratch);
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(median);
}

static int get_row(Row *row, const Image *image, const Knots *knots)
{
    const size_t n = (size_t)MAX(image->columns, 1), n_knots = (size_t)knots->n[1];
    const size_t n_pixels = n * (size_t)image->block;
    char *memory = PyMem_RawMalloc(n * (5 * sizeof(double) + 2 * sizeof(int32_t))
                                   + 2 * (n_knots + 1) * sizeof(double)
                                   + 2 * n_pixels * (sizeof(float) + sizeof(int32_t)));
    if (memory == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    row->total = (double *)(void *)memory;
    row->pixels = row->total + n;
    row->clipped = row->pixels + n;
    row->fractions = row->clipped + n;
    row->weights = row->fractions + n;
    row->knots = row->weights + n;
    row->intervals = (int32_t *)(void *)(row->knots + 2 * (n_knots + 1));
    row->nodes = row->intervals + n;
    row->near = (float *)(void *)(row->nodes + n);
    row->sums = row->near + n_pixels;
    row->kept = (int32_t *)(void *)(row->sums + n_pixels);
    row->all = row->kept + n_pixels;
    return 1;
}

static PyObject *py_add_blocks(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science, *usable, *level, *places[2], *positions, *sums;
    Py_ssize_t width, rows, columns, block, per_level;
    float limit;
    Knots knots;
    Lattice lattice;
    if (!PyArg_ParseTuple(arguments, "OOnnnnOnfOnOnO(dd)d(dd)nnO:add_blocks", &science, &usable, &width, &rows,
                          &columns, &block, &level, &per_level, &limit, &places[0], &knots.n[0], &places[1],
                          &knots.n[1], &positions, &lattice.start[0], &lattice.start[1], &lattice.spacing,
                          &lattice.first[0], &lattice.first[1], &lattice.rows, &lattice.columns, &sums))
        return NULL;
    if (knots.n[0] < 1 || knots.n[1] < 1 || lattice.rows < 0 || lattice.columns < 0
        || (lattice.columns > 0 && lattice.rows > INT32_MAX / lattice.columns))
        return PyErr_Format(PyExc_ValueError, "add_blocks: expected knots and a lattice of less than 2^31 nodes");
    Arrays arrays = {.n = 0};
    const Image image = take_image(&arrays, science, usable, level, width, rows, columns, block, per_level, 0);
    knots.places[0] = take(&arrays, places[0], "row places", knots.n[0], 8, 0);
    knots.places[1] = take(&arrays, places[1], "column places", knots.n[1], 8, 0);
    knots.positions = take(&arrays, positions, "positions", 2 * knots.n[0] * knots.n[1], 8, 0);
    lattice.sums = take(&arrays, sums, "sums", 3 * lattice.rows * lattice.columns, 8, 1);
    Row memory;
    if (!PyErr_Occurred() && get_row(&memory, &image, &knots)) {
        Py_BEGIN_ALLOW_THREADS
        add_blocks(&image, &knots, &lattice, limit, &memory);
        Py_END_ALLOW_THREADS
        PyMem_RawFree(memory.total);
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"clip", py_clip, METH_VARARGS,
     "clip(science, good, rows, columns, step, n_clips, sigma, values)\n--\n\nCollect every step-th pixel of every "
     "step-th row, NaN for those that are not good, and clip them about their mean; gives the number, mean, "
     "standard deviation, least and largest value of those that are left."},
    {"histogram", py_histogram, METH_VARARGS,
     "histogram(values, n, low, high, edges, n_bins, counts)\n--\n\nAdd to counts the values from low to high in "
     "bins of equal width."},
    {"find_low", py_find_low, METH_VARARGS,
     "find_low(science, good, n, limit, places, room)\n--\n\nFind the good pixels below a limit, and list as many "
     "as there is room for; gives their number and that of the good pixels."},
    {"local_levels", py_local_levels, METH_VARARGS,
     "local_levels(science, usable, width, rows, columns, block, level, per_level, differences)\n--\n\nFind the "
     "median of one usable pixel of each block in areas of blocks (NaN without any), and how much each of these "
     "pixels differs from it; gives their number."},
    {"median", py_median, METH_VARARGS,
     "median(values, n, deviation)\n--\n\nMedian of values, or that of their absolute deviations from it; the values "
     "are changed."},
    {"add_blocks", py_add_blocks, METH_VARARGS,
     "add_blocks(science, usable, width, rows, columns, block, level, per_level, limit, row_places, n_row_places, "
     "column_places, n_column_places, positions, start, spacing, first, node_rows, node_columns, sums)\n--\n\nSum "
     "usable pixels close to the level in square blocks, and add these to the nodes of a lattice, weighted by how "
     "near they are; see multivisit.combine.sky_samples."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "multivisit.combine._survey",
    .m_doc = "Passes over the pixels of one chip in C, for the static masks and the sky.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__survey(void)
{
    return PyModuleDef_Init(&definition);
}
