/* Passes over pixels that several numpy expressions would take, each with planes of intermediate results.
 *
 * All arrays are contiguous and come in through the buffer protocol; the global interpreter lock is released.
 * What is rounded to float32 on the way is part of the results: contraction to fused operations is off.
 */

#include "_arrays.h"

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

/* List the pixels of all holes (pixels that are NaN, joined at sides or corners) of at most `most` pixels, in places
 * that have room for all NaN; `waiting` has a byte for each pixel. Gives their number. */
static ptrdiff_t small_holes(const float *image, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t most,
                             unsigned char *waiting, int64_t *places)
{
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < rows * columns; i++)
        waiting[i] = image[i] != image[i];
    for (ptrdiff_t i = 0; i < rows * columns; i++) {
        if (!waiting[i])
            continue;
        ptrdiff_t end = kept;
        places[end++] = i;
        waiting[i] = 0;
        for (ptrdiff_t next = kept; next < end; next++) {
            const ptrdiff_t row = places[next] / columns, column = places[next] % columns;
            for (ptrdiff_t r = MAX(row - 1, 0); r <= MIN(row + 1, rows - 1); r++) {
                for (ptrdiff_t c = MAX(column - 1, 0); c <= MIN(column + 1, columns - 1); c++) {
                    if (waiting[r * columns + c]) {
                        waiting[r * columns + c] = 0;
                        places[end++] = r * columns + c;
                    }
                }
            }
        }
        if (end - kept <= most)
            kept = end;
    }
    return kept;
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

static PyObject *py_small_holes(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *image_object, *places_object;
    Py_ssize_t rows, columns, most, room;
    if (!PyArg_ParseTuple(arguments, "OnnnOn:small_holes", &image_object, &rows, &columns, &most, &places_object,
                          &room))
        return NULL;
    if (rows < 0 || columns < 0)
        return PyErr_Format(PyExc_ValueError, "small_holes: expected an image");
    Arrays arrays = {.n = 0};
    const float *image = take(&arrays, image_object, "image", rows * columns, 4, 0);
    int64_t *places = take(&arrays, places_object, "places", room, 8, 1);
    Py_ssize_t n_unknown = 0, n = 0;
    const Py_ssize_t n_pixels = PyErr_Occurred() ? 0 : rows * columns;
    for (Py_ssize_t i = 0; i < n_pixels; i++)
        n_unknown += image[i] != image[i];
    if (!PyErr_Occurred() && n_unknown > room)
        PyErr_Format(PyExc_ValueError, "small_holes: room for %zd of %zd pixels", room, n_unknown);
    unsigned char *waiting = NULL;
    if (!PyErr_Occurred() && (waiting = PyMem_RawMalloc((size_t)MAX(rows * columns, 1))) == NULL)
        PyErr_NoMemory();
    if (waiting != NULL) {
        Py_BEGIN_ALLOW_THREADS
        n = small_holes(image, rows, columns, most, waiting, places);
        Py_END_ALLOW_THREADS
        PyMem_RawFree(waiting);
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n);
}

static PyMethodDef methods[] = {
    {"decode", py_decode, METH_VARARGS,
     "decode(raw, n, factor, science)\n--\n\nTurn big-endian floats to the machine's order, times a factor."},
    {"mark", py_mark, METH_VARARGS,
     "mark(science, flags, n, bad, low, high, good)\n--\n\nMark the pixels without any of the bad bits in their "
     "big-endian 16-bit flags and with values from low to high; gives their number."},
    {"count_unflagged", py_count_unflagged, METH_VARARGS,
     "count_unflagged(flags, n)\n--\n\nCount the 16-bit flags that are 0."},
    {"take_off", py_take_off, METH_VARARGS,
     "take_off(science, good, masked, n, sky)\n--\n\nTake masked pixels out of the good ones, put 0 where a pixel "
     "is not good, and take the sky off; gives the numbers of good pixels and of those taken out."},
    {"big_endian", py_big_endian, METH_VARARGS,
     "big_endian(words, n, out)\n--\n\nTurn 32-bit words to big-endian order; gives the sum of their values."},
    {"count_weights", py_count_weights, METH_VARARGS,
     "count_weights(weights, n, starts, stops, n_runs, histogram, first, exact, size)\n--\n\nCount the weights in "
     "runs by the upper half of their ordered bits, and those from `first` on one by one; gives their sum."},
    {"block_means", py_block_means, METH_VARARGS,
     "block_means(science, weight, rows, columns, phase, factor, sums, counts, row_seen, column_seen)\n--\n\nAdd the "
     "pixels with data to square blocks, and mark the rows and columns that have any."},
    {"small_holes", py_small_holes, METH_VARARGS,
     "small_holes(image, rows, columns, most, places, room)\n--\n\nList the pixels of holes without data that are no "
     "larger than some number of pixels; there is room for all pixels without data. Gives their number."},
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
