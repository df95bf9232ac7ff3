/* Passes over pixels that several numpy expressions would take, each with planes of intermediate results.
 *
 * All arrays are contiguous and come in through the buffer protocol; the global interpreter lock is released.
 * What is rounded to float32 on the way is part of the results: contraction to fused operations is off.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Builds for several instruction sets, chosen when the module is loaded, where the C library can do that. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)                     \
    && !defined(MULTIVISIT_PORTABLE_ONLY)
#if __GNUC__ >= 12
#define BUILDS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BUILDS __attribute__((target_clones("avx2", "default")))
#endif
#else
#define BUILDS
#endif

#define LANES 16
#define LARGEST_ARRAYS 8
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* As multivisit.combine.weights.LARGEST_VALUE. */
#define LARGEST_VALUE 1e20f

static inline uint32_t swapped(uint32_t word)
{
    return __builtin_bswap32(word);
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "written for machines whose lowest byte comes first"
#endif

/* ------------------------------------------------------------------ loops */

BUILDS
static void decode_science(const uint32_t *raw, ptrdiff_t n, float factor, float *science)
{
    if (factor == 1.0f) {
        for (ptrdiff_t i = 0; i < n; i++)
            science[i] = float_of(swapped(raw[i]));
    } else {
        for (ptrdiff_t i = 0; i < n; i++)
            science[i] = float_of(swapped(raw[i])) * factor;
    }
}

/* Flags are tested as they stand in the file, against bits in the same order. */
BUILDS
static ptrdiff_t mark_good(const float *science, const uint16_t *flags, ptrdiff_t n, uint16_t bad, float low,
                           float high, unsigned char *good)
{
    ptrdiff_t n_good = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const float value = science[i];
        const unsigned char one = (value > -LARGEST_VALUE) & (value < LARGEST_VALUE) & (value >= low)
                                  & (value <= high) & ((flags[i] & bad) == 0);
        good[i] = one;
        n_good += one;
    }
    return n_good;
}

BUILDS
static ptrdiff_t count_zeros(const uint16_t *flags, ptrdiff_t n)
{
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        count += flags[i] == 0;
    return count;
}

BUILDS
static ptrdiff_t find_low(const float *science, const unsigned char *good, ptrdiff_t n, float limit,
                          unsigned char *low)
{
    ptrdiff_t n_low = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const unsigned char one = good[i] & (science[i] < limit);
        low[i] = one;
        n_low += one;
    }
    return n_low;
}

BUILDS
static void take_off(float *science, unsigned char *good, const unsigned char *masked, ptrdiff_t n, float sky,
                     ptrdiff_t counts[2])
{
    ptrdiff_t n_good = 0, n_masked = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const unsigned char out = masked == NULL ? 0 : good[i] & masked[i];
        const unsigned char one = good[i] & (out ^ 1);
        good[i] = one;
        n_good += one;
        n_masked += out;
        science[i] = (one ? science[i] : 0.0f) - sky;
    }
    counts[0] = n_good;
    counts[1] = n_masked;
}

BUILDS
static double sum_of(const float *values, ptrdiff_t n)
{
    double lanes[LANES] = {0.0}, sum = 0.0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++)
            lanes[k] += (double)values[i + k];
    }
    for (; i < n; i++)
        sum += (double)values[i];
    for (int k = 0; k < LANES; k++)
        sum += lanes[k];
    return sum;
}

BUILDS
static double sum_of_squares(const float *values, ptrdiff_t n, double mean)
{
    double lanes[LANES] = {0.0}, sum = 0.0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            const double difference = (double)values[i + k] - mean;
            lanes[k] += difference * difference;
        }
    }
    for (; i < n; i++)
        sum += ((double)values[i] - mean) * ((double)values[i] - mean);
    for (int k = 0; k < LANES; k++)
        sum += lanes[k];
    return sum;
}

static ptrdiff_t keep_close(float *values, ptrdiff_t n, double mean, double limit)
{
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const float value = values[i];
        values[kept] = value;
        kept += fabs((double)value - mean) <= limit;
    }
    return kept;
}

/* The bin of each value is the one whose edges hold it, whatever the rounding of the division. */
static void count_bins(const float *values, ptrdiff_t n, const double *edges, ptrdiff_t n_bins, int64_t *counts)
{
    const double scale = (double)n_bins / (edges[n_bins] - edges[0]);
    for (ptrdiff_t i = 0; i < n; i++) {
        const double value = (double)values[i];
        if (!(value >= edges[0] && value <= edges[n_bins]))
            continue;
        ptrdiff_t bin = MIN((ptrdiff_t)((value - edges[0]) * scale), n_bins - 1);
        bin -= value < edges[bin];
        bin += bin < n_bins - 1 && value >= edges[bin + 1];
        counts[bin]++;
    }
}

BUILDS
static void sum_block_row(const float *science, const unsigned char *usable, ptrdiff_t width, ptrdiff_t columns,
                          ptrdiff_t block, const float *near, float limit, float *row_sums, float *row_kept,
                          float *row_usable, double *total, double *pixels, double *clipped)
{
    const ptrdiff_t n = columns * block;
    for (ptrdiff_t row = 0; row < block; row++) {
        const float *values = science + row * width;
        const unsigned char *use = usable + row * width;
        for (ptrdiff_t i = 0; i < n; i++) {
            const float difference = values[i] - near[i];
            const int kept = use[i] & (fabsf(difference) <= limit);
            const float value = kept ? difference : 0.0f;
            row_sums[i] = row == 0 ? value : row_sums[i] + value;
            row_kept[i] = row == 0 ? (float)kept : row_kept[i] + (float)kept;
            row_usable[i] = row == 0 ? (float)use[i] : row_usable[i] + (float)use[i];
        }
    }
    for (ptrdiff_t b = 0; b < columns; b++) {
        float sum = row_sums[b * block], kept = row_kept[b * block], all = row_usable[b * block];
        for (ptrdiff_t k = 1; k < block; k++) {
            sum += row_sums[b * block + k];
            kept += row_kept[b * block + k];
            all += row_usable[b * block + k];
        }
        total[b] = (double)sum + (double)kept * (double)near[b * block];
        pixels[b] = (double)kept;
        clipped[b] = (double)(all - kept);
    }
}

/* The node of the lattice that is nearest to a position along one axis, and how much the position counts for it. */
static inline double node_of(double position, double start, double spacing, double *weight)
{
    const double along = (position + start) / spacing;
    const double node = floor(along + 0.5);
    *weight = 1.0 - 2.0 * fabs(along - node);
    return node;
}

typedef struct {
    const double *place[2];
    const double *values[3];
    ptrdiff_t n;
    double start[2], spacing;
} Blocks;

/* The nodes that blocks with pixels belong to; gives whether there are any. */
static int node_range(const Blocks *blocks, double low[2], double high[2])
{
    int any = 0;
    low[0] = low[1] = INFINITY;
    high[0] = high[1] = -INFINITY;
    for (ptrdiff_t i = 0; i < blocks->n; i++) {
        if (blocks->values[1][i] + blocks->values[2][i] == 0.0)
            continue;
        any = 1;
        for (int axis = 0; axis < 2; axis++) {
            double weight;
            const double node = node_of(blocks->place[axis][i], blocks->start[axis], blocks->spacing, &weight);
            low[axis] = MIN(low[axis], node);
            high[axis] = MAX(high[axis], node);
        }
    }
    return any;
}

static void add_to_nodes(const Blocks *blocks, const double first[2], ptrdiff_t rows, ptrdiff_t columns,
                         double *sums)
{
    for (ptrdiff_t i = 0; i < blocks->n; i++) {
        if (blocks->values[1][i] + blocks->values[2][i] == 0.0)
            continue;
        double along_x, along_y;
        const double x = node_of(blocks->place[0][i], blocks->start[0], blocks->spacing, &along_x) - first[0];
        const double y = node_of(blocks->place[1][i], blocks->start[1], blocks->spacing, &along_y) - first[1];
        if (!(x >= 0.0 && x < (double)columns && y >= 0.0 && y < (double)rows))
            continue;
        const double weight = along_x * along_y;
        for (int k = 0; k < 3; k++)
            sums[(k * rows + (ptrdiff_t)y) * columns + (ptrdiff_t)x] += weight * blocks->values[k][i];
    }
}

BUILDS
static uint64_t swap_words(const uint32_t *words, ptrdiff_t n, uint32_t *out)
{
    uint64_t lanes[LANES] = {0}, sum = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            lanes[k] += words[i + k];
            out[i + k] = swapped(words[i + k]);
        }
    }
    for (; i < n; i++) {
        sum += words[i];
        out[i] = swapped(words[i]);
    }
    for (int k = 0; k < LANES; k++)
        sum += lanes[k];
    return sum;
}

/* Integers that sort as the floats do. */
static inline uint32_t ordered(uint32_t bits)
{
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static void count_upper(const uint32_t *bits, ptrdiff_t n, int64_t *histogram)
{
    for (ptrdiff_t i = 0; i < n; i++)
        histogram[ordered(bits[i]) >> 16]++;
}

static void count_upper_and_exact(const uint32_t *bits, ptrdiff_t n, int64_t *histogram, uint32_t first,
                                  uint32_t size, uint32_t *exact)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t key = ordered(bits[i]);
        histogram[key >> 16]++;
        if (key - first < size)
            exact[key - first]++;
    }
}

BUILDS
static void add_observed(const float *science, const float *weight, ptrdiff_t n, double *sums, int32_t *counts,
                         unsigned char *row_seen)
{
    unsigned char seen = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const unsigned char one = (fabsf(science[i]) <= 3.4028235e38f) & (weight == NULL || weight[i] != 0.0f);
        sums[i] += one ? (double)science[i] : 0.0;
        counts[i] += one;
        seen |= one;
    }
    *row_seen = seen;
}

/* ------------------------------------------------------------------ arguments */

typedef struct {
    Py_buffer arrays[LARGEST_ARRAYS];
    int n;
} Arrays;

static void release(Arrays *arrays)
{
    for (int i = 0; i < arrays->n; i++)
        PyBuffer_Release(&arrays->arrays[i]);
}

/* Take an array of at least `n` elements; sets an error if it is not contiguous, writable or large enough. */
static void *take(Arrays *arrays, PyObject *object, const char *name, Py_ssize_t n, Py_ssize_t size,
                  int writable)
{
    Py_buffer *array = &arrays->arrays[arrays->n];
    if (PyErr_Occurred() || PyObject_GetBuffer(object, array, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) != 0)
        return NULL;
    arrays->n++;
    if (n < 0 || array->len / size < n) {
        PyErr_Format(PyExc_ValueError, "%s: found %zd bytes, expected at least %zd elements of %zd", name,
                     array->len, n, size);
        return NULL;
    }
    return array->buf;
}

static void *take_or_none(Arrays *arrays, PyObject *object, const char *name, Py_ssize_t n, Py_ssize_t size,
                          int writable)
{
    return object == Py_None ? NULL : take(arrays, object, name, n, size, writable);
}

/* ------------------------------------------------------------------ functions of the module */

static PyObject *py_decode(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *raw_object, *science_object;
    Py_ssize_t n;
    float factor;
    if (!PyArg_ParseTuple(arguments, "OnfO:decode", &raw_object, &n, &factor, &science_object))
        return NULL;
    Arrays arrays = {.n = 0};
    const uint32_t *raw = take(&arrays, raw_object, "raw", n, 4, 0);
    float *science = take(&arrays, science_object, "science", n, 4, 1);
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        decode_science(raw, n, factor, science);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *py_mark(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *flags_object, *good_object;
    Py_ssize_t n;
    unsigned int bad;
    float low, high;
    if (!PyArg_ParseTuple(arguments, "OOnIffO:mark", &science_object, &flags_object, &n, &bad, &low, &high,
                          &good_object))
        return NULL;
    Arrays arrays = {.n = 0};
    const float *science = take(&arrays, science_object, "science", n, 4, 0);
    const uint16_t *flags = take(&arrays, flags_object, "flags", n, 2, 0);
    unsigned char *good = take(&arrays, good_object, "good", n, 1, 1);
    ptrdiff_t n_good = 0;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        n_good = mark_good(science, flags, n, __builtin_bswap16((uint16_t)bad), low, high, good);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n_good);
}

static PyObject *py_count_unflagged(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *flags_object;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(arguments, "On:count_unflagged", &flags_object, &n))
        return NULL;
    Arrays arrays = {.n = 0};
    const uint16_t *flags = take(&arrays, flags_object, "flags", n, 2, 0);
    ptrdiff_t count = 0;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        count = count_zeros(flags, n);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(count);
}

static PyObject *py_find_low(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *good_object, *low_object;
    Py_ssize_t n;
    float limit;
    if (!PyArg_ParseTuple(arguments, "OOnfO:find_low", &science_object, &good_object, &n, &limit, &low_object))
        return NULL;
    Arrays arrays = {.n = 0};
    const float *science = take(&arrays, science_object, "science", n, 4, 0);
    const unsigned char *good = take(&arrays, good_object, "good", n, 1, 0);
    unsigned char *low = take(&arrays, low_object, "low", n, 1, 1);
    ptrdiff_t n_low = 0;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        n_low = find_low(science, good, n, limit, low);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n_low);
}

static PyObject *py_take_off(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *good_object, *masked_object;
    Py_ssize_t n;
    float sky;
    if (!PyArg_ParseTuple(arguments, "OOOnf:take_off", &science_object, &good_object, &masked_object, &n, &sky))
        return NULL;
    Arrays arrays = {.n = 0};
    float *science = take(&arrays, science_object, "science", n, 4, 1);
    unsigned char *good = take(&arrays, good_object, "good", n, 1, 1);
    const unsigned char *masked = take_or_none(&arrays, masked_object, "masked", n, 1, 0);
    ptrdiff_t counts[2] = {0, 0};
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        take_off(science, good, masked, n, sky, counts);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_BuildValue("(nn)", counts[0], counts[1]);
}

static PyObject *py_sample(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *good_object, *out_object;
    Py_ssize_t rows, columns, step;
    if (!PyArg_ParseTuple(arguments, "OOnnnO:sample", &science_object, &good_object, &rows, &columns, &step,
                          &out_object))
        return NULL;
    if (rows < 0 || columns < 0 || step < 1)
        return PyErr_Format(PyExc_ValueError, "sample: expected rows and columns, and a step of at least 1");
    Arrays arrays = {.n = 0};
    const float *science = take(&arrays, science_object, "science", rows * columns, 4, 0);
    const unsigned char *good = take(&arrays, good_object, "good", rows * columns, 1, 0);
    const Py_ssize_t most = ((rows + step - 1) / step) * ((columns + step - 1) / step);
    float *out = take(&arrays, out_object, "out", most + 1, 4, 1);
    ptrdiff_t n = 0;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t row = 0; row < rows; row += step) {
            for (ptrdiff_t i = row * columns; i < (row + 1) * columns; i += step) {
                out[n] = science[i];
                n += good[i];
            }
        }
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *py_clip(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values_object;
    Py_ssize_t n;
    int n_clips;
    double most_sigma;
    if (!PyArg_ParseTuple(arguments, "Onid:clip", &values_object, &n, &n_clips, &most_sigma))
        return NULL;
    Arrays arrays = {.n = 0};
    float *values = take(&arrays, values_object, "values", n, 4, 1);
    double mean = 0.0, sigma = 0.0;
    float low = INFINITY, high = -INFINITY;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        for (int clip = 0; clip <= n_clips && n >= 2; clip++) {
            mean = sum_of(values, n) / (double)n;
            sigma = sqrt(sum_of_squares(values, n, mean) / (double)(n - 1));
            if (clip < n_clips)
                n = keep_close(values, n, mean, most_sigma * sigma);
        }
        for (ptrdiff_t i = 0; i < n; i++) {
            low = MIN(low, values[i]);
            high = MAX(high, values[i]);
        }
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_BuildValue("(ndddd)", n, mean, sigma, (double)low, (double)high);
}

static PyObject *py_histogram(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *values_object, *edges_object, *counts_object;
    Py_ssize_t n, n_bins;
    if (!PyArg_ParseTuple(arguments, "OnOnO:histogram", &values_object, &n, &edges_object, &n_bins,
                          &counts_object))
        return NULL;
    if (n_bins < 1)
        return PyErr_Format(PyExc_ValueError, "histogram: expected at least one bin");
    Arrays arrays = {.n = 0};
    const float *values = take(&arrays, values_object, "values", n, 4, 0);
    const double *edges = take(&arrays, edges_object, "edges", n_bins + 1, 8, 0);
    int64_t *counts = take(&arrays, counts_object, "counts", n_bins, 8, 1);
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        count_bins(values, n, edges, n_bins, counts);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *py_block_sums(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *usable_object, *level_object, *total_object, *pixels_object, *clipped_object;
    Py_ssize_t width, rows, columns, block, per_level;
    float limit;
    if (!PyArg_ParseTuple(arguments, "OOnnnnOnfOOO:block_sums", &science_object, &usable_object, &width, &rows,
                          &columns, &block, &level_object, &per_level, &limit, &total_object, &pixels_object,
                          &clipped_object))
        return NULL;
    if (rows < 0 || columns < 0 || block < 1 || per_level < 1 || columns * block > width)
        return PyErr_Format(PyExc_ValueError, "block_sums: the blocks do not fit into the image");
    Arrays arrays = {.n = 0};
    const Py_ssize_t level_columns = (columns + per_level - 1) / per_level;
    const Py_ssize_t level_rows = (rows + per_level - 1) / per_level;
    const float *science = take(&arrays, science_object, "science", rows * block * width, 4, 0);
    const unsigned char *usable = take(&arrays, usable_object, "usable", rows * block * width, 1, 0);
    const double *level = take(&arrays, level_object, "level", level_rows * level_columns, 8, 0);
    double *total = take(&arrays, total_object, "total", rows * columns, 8, 1);
    double *pixels = take(&arrays, pixels_object, "pixels", rows * columns, 8, 1);
    double *clipped = take(&arrays, clipped_object, "clipped", rows * columns, 8, 1);
    float *scratch = PyErr_Occurred() ? NULL : PyMem_RawMalloc((size_t)MAX(4 * columns * block, 1) * sizeof(float));
    if (scratch != NULL) {
        const ptrdiff_t n = columns * block;
        float *near = scratch, *sums = scratch + n, *kept = scratch + 2 * n, *all = scratch + 3 * n;
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t row = 0; row < rows; row++) {
            if (row % per_level == 0) {
                for (ptrdiff_t i = 0; i < n; i++)
                    near[i] = (float)level[row / per_level * level_columns + i / (per_level * block)];
            }
            const ptrdiff_t at = row * block * width;
            sum_block_row(science + at, usable + at, width, columns, block, near, limit, sums, kept, all,
                          total + row * columns, pixels + row * columns, clipped + row * columns);
        }
        Py_END_ALLOW_THREADS
        PyMem_RawFree(scratch);
    } else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *py_node_range(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *x, *y, *pixels, *clipped;
    Blocks blocks = {.n = 0};
    if (!PyArg_ParseTuple(arguments, "OOOOn(dd)d:node_range", &x, &y, &pixels, &clipped, &blocks.n,
                          &blocks.start[0], &blocks.start[1], &blocks.spacing))
        return NULL;
    Arrays arrays = {.n = 0};
    blocks.place[0] = take(&arrays, x, "x", blocks.n, 8, 0);
    blocks.place[1] = take(&arrays, y, "y", blocks.n, 8, 0);
    blocks.values[1] = take(&arrays, pixels, "pixels", blocks.n, 8, 0);
    blocks.values[2] = take(&arrays, clipped, "clipped", blocks.n, 8, 0);
    double low[2], high[2];
    int any = 0;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        any = node_range(&blocks, low, high);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    if (PyErr_Occurred())
        return NULL;
    return any ? Py_BuildValue("(dddd)", low[0], low[1], high[0], high[1]) : Py_NewRef(Py_None);
}

static PyObject *py_add_to_nodes(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *x, *y, *values[3], *sums_object;
    Blocks blocks = {.n = 0};
    double first[2];
    Py_ssize_t rows, columns;
    if (!PyArg_ParseTuple(arguments, "OOOOOn(dd)d(dd)nnO:add_to_nodes", &x, &y, &values[0], &values[1],
                          &values[2], &blocks.n, &blocks.start[0], &blocks.start[1], &blocks.spacing, &first[0],
                          &first[1], &rows, &columns, &sums_object))
        return NULL;
    Arrays arrays = {.n = 0};
    blocks.place[0] = take(&arrays, x, "x", blocks.n, 8, 0);
    blocks.place[1] = take(&arrays, y, "y", blocks.n, 8, 0);
    for (int k = 0; k < 3; k++)
        blocks.values[k] = take(&arrays, values[k], "values", blocks.n, 8, 0);
    double *sums = take(&arrays, sums_object, "sums", rows < 0 || columns < 0 ? -1 : 3 * rows * columns, 8, 1);
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        add_to_nodes(&blocks, first, rows, columns, sums);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *py_big_endian(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *words_object, *out_object;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(arguments, "OnO:big_endian", &words_object, &n, &out_object))
        return NULL;
    Arrays arrays = {.n = 0};
    const uint32_t *words = take(&arrays, words_object, "words", n, 4, 0);
    uint32_t *out = take(&arrays, out_object, "out", n, 4, 1);
    uint64_t sum = 0;
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        sum = swap_words(words, n, out);
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromUnsignedLongLong(sum);
}

static PyObject *py_count_weights(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *weights_object, *starts_object, *stops_object, *histogram_object, *exact_object;
    Py_ssize_t n, n_runs, size;
    unsigned int first;
    if (!PyArg_ParseTuple(arguments, "OnOOnOIOn:count_weights", &weights_object, &n, &starts_object,
                          &stops_object, &n_runs, &histogram_object, &first, &exact_object, &size))
        return NULL;
    Arrays arrays = {.n = 0};
    const float *weights = take(&arrays, weights_object, "weights", n, 4, 0);
    const int64_t *starts = take(&arrays, starts_object, "starts", n_runs, 8, 0);
    const int64_t *stops = take(&arrays, stops_object, "stops", n_runs, 8, 0);
    int64_t *histogram = take(&arrays, histogram_object, "histogram", 1 << 16, 8, 1);
    uint32_t *exact = take_or_none(&arrays, exact_object, "exact", size, 4, 1);
    double sum = 0.0;
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < n_runs; i++) {
        if (starts[i] < 0 || stops[i] < starts[i] || stops[i] > n)
            PyErr_Format(PyExc_ValueError, "count_weights: a run lies outside the weights");
    }
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t i = 0; i < n_runs; i++) {
            const float *run = weights + starts[i];
            const ptrdiff_t length = stops[i] - starts[i];
            sum += sum_of(run, length);
            if (exact == NULL)
                count_upper((const uint32_t *)(const void *)run, length, histogram);
            else
                count_upper_and_exact((const uint32_t *)(const void *)run, length, histogram, first,
                                      (uint32_t)size, exact);
        }
        Py_END_ALLOW_THREADS
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(sum);
}

static PyObject *py_block_means(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *science_object, *weight_object, *sums_object, *counts_object, *rows_object, *columns_object;
    Py_ssize_t rows, columns, phase, factor;
    if (!PyArg_ParseTuple(arguments, "OOnnnnOOOO:block_means", &science_object, &weight_object, &rows, &columns,
                          &phase, &factor, &sums_object, &counts_object, &rows_object, &columns_object))
        return NULL;
    if (rows < 0 || columns < 0 || factor < 1 || phase < 0 || phase >= factor)
        return PyErr_Format(PyExc_ValueError, "block_means: expected 0 <= phase < factor");
    Arrays arrays = {.n = 0};
    const Py_ssize_t block_rows = (phase + rows + factor - 1) / factor;
    const Py_ssize_t block_columns = (columns + factor - 1) / factor;
    const float *science = take(&arrays, science_object, "science", rows * columns, 4, 0);
    const float *weight = take_or_none(&arrays, weight_object, "weight", rows * columns, 4, 0);
    double *sums = take(&arrays, sums_object, "sums", block_rows * block_columns, 8, 1);
    int32_t *counts = take(&arrays, counts_object, "counts", block_rows * block_columns, 4, 1);
    unsigned char *row_seen = take(&arrays, rows_object, "rows", rows, 1, 1);
    unsigned char *column_seen = take(&arrays, columns_object, "columns", columns, 1, 1);
    double *column_sums = NULL;
    if (!PyErr_Occurred()) {
        column_sums = PyMem_RawCalloc((size_t)MAX(columns, 1), sizeof(double) + sizeof(int32_t));
        if (column_sums == NULL)
            PyErr_NoMemory();
    }
    if (column_sums != NULL) {
        int32_t *column_counts = (int32_t *)(void *)(column_sums + columns);
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t row = 0; row < rows; row++) {
            add_observed(science + row * columns, weight == NULL ? NULL : weight + row * columns, columns,
                         column_sums, column_counts, row_seen + row);
            if ((phase + row + 1) % factor != 0 && row + 1 < rows)
                continue;
            const ptrdiff_t at = (phase + row) / factor * block_columns;
            for (ptrdiff_t i = 0, block = 0, left = factor; i < columns; i++) {
                sums[at + block] += column_sums[i];
                counts[at + block] += column_counts[i];
                column_seen[i] |= column_counts[i] != 0;
                if (--left == 0) {
                    block++;
                    left = factor;
                }
            }
            memset(column_sums, 0, (size_t)columns * (sizeof(double) + sizeof(int32_t)));
        }
        Py_END_ALLOW_THREADS
        PyMem_RawFree(column_sums);
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"decode", py_decode, METH_VARARGS,
     "decode(raw, n, factor, science)\n--\n\nTurn big-endian floats to the machine's order, times a factor."},
    {"mark", py_mark, METH_VARARGS,
     "mark(science, flags, n, bad, low, high, good)\n--\n\nMark the pixels without any of the bad bits in their "
     "big-endian 16-bit flags and with values from low to high; gives their number."},
    {"count_unflagged", py_count_unflagged, METH_VARARGS,
     "count_unflagged(flags, n)\n--\n\nCount the 16-bit flags that are 0."},
    {"find_low", py_find_low, METH_VARARGS,
     "find_low(science, good, n, limit, low)\n--\n\nMark the good pixels below a limit; gives their number."},
    {"take_off", py_take_off, METH_VARARGS,
     "take_off(science, good, masked, n, sky)\n--\n\nTake masked pixels out of the good ones, put 0 where a pixel "
     "is not good, and take the sky off; gives the numbers of good pixels and of those taken out."},
    {"sample", py_sample, METH_VARARGS,
     "sample(science, good, rows, columns, step, out)\n--\n\nCollect the good ones of every step-th pixel of every "
     "step-th row; gives their number. There is room for all of them and one more in `out`."},
    {"clip", py_clip, METH_VARARGS,
     "clip(values, n, n_clips, sigma)\n--\n\nClip values about their mean in place; gives their number, mean, "
     "standard deviation, least and largest value."},
    {"histogram", py_histogram, METH_VARARGS,
     "histogram(values, n, edges, n_bins, counts)\n--\n\nAdd to counts the values in bins of equal width."},
    {"block_sums", py_block_sums, METH_VARARGS,
     "block_sums(science, usable, width, rows, columns, block, level, per_level, limit, total, pixels, clipped)"
     "\n--\n\nSum usable pixels close to the level in square blocks; see multivisit.combine.sky_samples."},
    {"node_range", py_node_range, METH_VARARGS,
     "node_range(x, y, pixels, clipped, n, start, spacing)\n--\n\nFind the least and the greatest nodes (x, y; x, y) "
     "of a lattice that blocks with pixels belong to; None without any."},
    {"add_to_nodes", py_add_to_nodes, METH_VARARGS,
     "add_to_nodes(x, y, total, pixels, clipped, n, start, spacing, first, rows, columns, sums)\n--\n\nAdd blocks to "
     "the nodes of a lattice, weighted by how near they are."},
    {"big_endian", py_big_endian, METH_VARARGS,
     "big_endian(words, n, out)\n--\n\nTurn 32-bit words to big-endian order; gives the sum of their values."},
    {"count_weights", py_count_weights, METH_VARARGS,
     "count_weights(weights, n, starts, stops, n_runs, histogram, first, exact, size)\n--\n\nCount the weights in "
     "runs by the upper half of their ordered bits, and those from `first` on one by one; gives their sum."},
    {"block_means", py_block_means, METH_VARARGS,
     "block_means(science, weight, rows, columns, phase, factor, sums, counts, row_seen, column_seen)\n--\n\nAdd the "
     "pixels with data to square blocks, and mark the rows and columns that have any."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "multivisit.combine._pixels",
    .m_doc = "Passes over pixels in C.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__pixels(void)
{
    return PyModuleDef_Init(&definition);
}
