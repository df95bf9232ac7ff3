/* Parts of chips, read from their files and made ready for combination where a strip needs them.
 *
 * A chip is divided into cells; a part is some neighbouring cells in one row of them. Only the pixels of the
 * parts are read. The global interpreter lock is released. What is rounded to float32 on the way is part of the
 * results: contraction to fused operations is off.
 */

#define _FILE_OFFSET_BITS 64

#include "_arrays.h"

#include <errno.h>
#include <unistd.h>

/* As multivisit.combine.weights.LARGEST_VALUE. */
#define LARGEST_VALUE 1e20f

/* Pixels that are read at a time where whole rows are. */
#define READ_PIXELS (1 << 16)

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "written for machines whose lowest byte comes first"
#endif

typedef struct {
    ptrdiff_t width, n_rows, n_columns, n_parts;
    const int64_t *rows, *columns; /* edges of the cells */
    const int64_t *parts;          /* of each: its row of cells, its first cell, the cell after its last one */
} Layout;

typedef struct {
    const unsigned char *masked; /* pixels that are left out, or NULL */
    float sky;
    float *science; /* plane of the chip, or NULL to count alone */
    unsigned char *good;
    int32_t *counts;          /* of each cell: pixels that count, and those left out by the mask alone */
} Target;

typedef struct {
    int science, quality; /* open files */
    int64_t science_start, quality_start;
    float factor, low, high;
    uint16_t bad; /* in the order of the file */
} Files;

/* ------------------------------------------------------------------ loops */

BUILDS
static void decode_and_mark(const uint32_t *raw, const uint16_t *flags, ptrdiff_t n, float factor, uint16_t bad,
                            float low, float high, float *science, unsigned char *good)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t word = __builtin_bswap32(raw[i]);
        float value;
        memcpy(&value, &word, sizeof value);
        value *= factor;
        science[i] = value;
        good[i] = (value > -LARGEST_VALUE) & (value < LARGEST_VALUE) & (value >= low) & (value <= high)
                  & ((flags[i] & bad) == 0);
    }
}

BUILDS
static void put(const float *science, const unsigned char *good, const unsigned char *masked, ptrdiff_t n, float sky,
                float *science_out, unsigned char *good_out, int32_t counts[2])
{
    int32_t n_good = 0, n_masked = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const unsigned char out = masked == NULL ? 0 : good[i] & masked[i];
        const unsigned char one = good[i] & (out ^ 1);
        n_good += one;
        n_masked += out;
        science_out[i] = (one ? science[i] : 0.0f) - sky;
        good_out[i] = one;
    }
    counts[0] += n_good;
    counts[1] += n_masked;
}

BUILDS
static void count(const unsigned char *good, const unsigned char *masked, ptrdiff_t n, int32_t counts[2])
{
    int32_t n_good = 0, n_masked = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const unsigned char out = masked == NULL ? 0 : good[i] & masked[i];
        n_good += good[i] & (out ^ 1);
        n_masked += out;
    }
    counts[0] += n_good;
    counts[1] += n_masked;
}

/* Hand a row of a part on, cell by cell; `science` and `good` begin at its first pixel. */
static void put_row(const Layout *layout, const Target *target, const int64_t *part, ptrdiff_t row,
                    const float *science, const unsigned char *good)
{
    for (int64_t cell = part[1]; cell < part[2]; cell++) {
        const ptrdiff_t first = layout->columns[cell], n = layout->columns[cell + 1] - first;
        const ptrdiff_t at = row * layout->width + first, from = first - layout->columns[part[1]];
        const unsigned char *masked = target->masked == NULL ? NULL : target->masked + at;
        int32_t *counts = target->counts + 2 * (part[0] * layout->n_columns + cell);
        if (target->science == NULL)
            count(good + from, masked, n, counts);
        else
            put(science + from, good + from, masked, n, target->sky, target->science + at, target->good + at, counts);
    }
}

/* 0; -1 with errno where reading fails, 1 where the file ends. */
static int read_all(int file, char *target, int64_t n, int64_t place)
{
    while (n > 0) {
        const ssize_t n_read = pread(file, target, (size_t)n, (off_t)place);
        if (n_read < 0 && errno == EINTR)
            continue;
        if (n_read <= 0)
            return n_read == 0 ? 1 : -1;
        target += n_read;
        place += n_read;
        n -= n_read;
    }
    return 0;
}

static ptrdiff_t scratch_pixels(const Layout *layout)
{
    return MAX(layout->width, READ_PIXELS);
}

/* `scratch` has room for 11 bytes for each of `scratch_pixels`. */
static int read_part(const Layout *layout, const Target *target, const Files *files, const int64_t *part, char *scratch)
{
    uint32_t *raw = (uint32_t *)(void *)scratch;
    float *science = (float *)(void *)(scratch + 4 * scratch_pixels(layout));
    uint16_t *flags = (uint16_t *)(void *)(scratch + 8 * scratch_pixels(layout));
    unsigned char *good = (unsigned char *)scratch + 10 * scratch_pixels(layout);
    const ptrdiff_t width = layout->width, last = layout->rows[part[0] + 1];
    const ptrdiff_t first_column = layout->columns[part[1]], n = layout->columns[part[2]] - first_column;
    /* Rows that are read for the most part are read whole, many in one go. */
    const ptrdiff_t step = 2 * n >= width ? MAX(READ_PIXELS / width, 1) : 1;
    int32_t *counts = target->counts + 2 * (part[0] * layout->n_columns + part[1]);
    memset(counts, 0, (size_t)(part[2] - part[1]) * 2 * sizeof *counts);
    for (ptrdiff_t row = layout->rows[part[0]]; row < last; row += step) {
        const ptrdiff_t n_rows = MIN(step, last - row), n_pixels = (n_rows - 1) * width + n;
        const int64_t at = (int64_t)row * width + first_column;
        int problem = read_all(files->science, (char *)raw, 4 * (int64_t)n_pixels, files->science_start + 4 * at);
        if (problem == 0)
            problem = read_all(files->quality, (char *)flags, 2 * (int64_t)n_pixels, files->quality_start + 2 * at);
        if (problem != 0)
            return problem;
        for (ptrdiff_t k = 0; k < n_rows; k++) {
            decode_and_mark(raw + k * width, flags + k * width, n, files->factor, files->bad, files->low,
                            files->high, science, good);
            put_row(layout, target, part, row + k, science, good);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ arguments */

static int rises_from_zero(const int64_t *edges, Py_ssize_t n)
{
    if (edges[0] != 0)
        return 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (edges[i + 1] < edges[i] || edges[i + 1] > INT32_MAX)
            return 0;
    }
    return 1;
}

/* Take the cells, the parts and what they are made into. */
static void take_layout(Arrays *arrays, PyObject *layout_object, PyObject *target_object, Layout *layout, Target *target)
{
    PyObject *rows, *columns, *parts, *masked, *science, *good, *counts;
    if (!PyArg_ParseTuple(layout_object, "OnOnOn:layout", &rows, &layout->n_rows, &columns, &layout->n_columns, &parts,
                          &layout->n_parts)
        || !PyArg_ParseTuple(target_object, "OfOOO:target", &masked, &target->sky, &science, &good, &counts))
        return;
    if (layout->n_rows < 1 || layout->n_columns < 1 || layout->n_parts < 0) {
        PyErr_SetString(PyExc_ValueError, "parts: expected at least one row and one column of cells");
        return;
    }
    layout->rows = take(arrays, rows, "row edges", layout->n_rows + 1, 8, 0);
    layout->columns = take(arrays, columns, "column edges", layout->n_columns + 1, 8, 0);
    layout->parts = take(arrays, parts, "parts", 3 * layout->n_parts, 8, 0);
    if (PyErr_Occurred())
        return;
    int fits = rises_from_zero(layout->rows, layout->n_rows) && rises_from_zero(layout->columns, layout->n_columns);
    for (Py_ssize_t k = 0; fits && k < layout->n_parts; k++) {
        const int64_t *part = layout->parts + 3 * k;
        fits = part[0] >= 0 && part[0] < layout->n_rows && part[1] >= 0 && part[1] <= part[2]
               && part[2] <= layout->n_columns;
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "parts: found cells that do not follow each other, or parts outside them");
        return;
    }
    layout->width = layout->columns[layout->n_columns];
    const Py_ssize_t n_pixels = layout->rows[layout->n_rows] * layout->width;
    target->masked = take_or_none(arrays, masked, "masked", n_pixels, 1, 0);
    target->science = take_or_none(arrays, science, "science", n_pixels, 4, 1);
    target->good = science == Py_None ? NULL : take(arrays, good, "good", n_pixels, 1, 1);
    target->counts = take(arrays, counts, "counts", 2 * layout->n_rows * layout->n_columns, 4, 1);
}

/* ------------------------------------------------------------------ functions of the module */

static PyObject *py_read_parts(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *layout_object, *target_object;
    Files files;
    long long science_start, quality_start;
    unsigned int bad;
    if (!PyArg_ParseTuple(arguments, "(iLiLfIff)OO:read_parts", &files.science, &science_start, &files.quality,
                          &quality_start, &files.factor, &bad, &files.low, &files.high, &layout_object,
                          &target_object))
        return NULL;
    files.science_start = science_start;
    files.quality_start = quality_start;
    files.bad = __builtin_bswap16((uint16_t)bad);
    Arrays arrays = {.n = 0};
    Layout layout;
    Target target;
    take_layout(&arrays, layout_object, target_object, &layout, &target);
    char *scratch = PyErr_Occurred() ? NULL : PyMem_RawMalloc((size_t)scratch_pixels(&layout) * 11);
    if (scratch != NULL) {
        int problem = 0;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; problem == 0 && k < layout.n_parts; k++)
            problem = read_part(&layout, &target, &files, layout.parts + 3 * k, scratch);
        Py_END_ALLOW_THREADS
        if (problem < 0)
            PyErr_SetFromErrno(PyExc_OSError);
        else if (problem > 0)
            PyErr_SetString(PyExc_EOFError, "its file has become shorter.");
        PyMem_RawFree(scratch);
    } else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    release(&arrays);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"read_parts", py_read_parts, METH_VARARGS,
     "read_parts(source, layout, target)\n--\n\nMake parts of a chip from its files, where its pixels stand as "
     "big-endian floats and its flags as big-endian 16-bit numbers; see multivisit.combine.chip_parts."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "multivisit.combine._parts",
    .m_doc = "Parts of chips, made ready for combination.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__parts(void)
{
    return PyModuleDef_Init(&definition);
}
