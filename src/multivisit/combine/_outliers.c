/* The loops over pixels of outlier rejection: statistics of stacks, interpolation in an image, and the test.
 *
 * One Python extension module without dependencies; arrays come in through the buffer protocol and their types
 * and sizes are checked by the Python modules that call (median.py, blot.py, cosmic_rays.py) and again here.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Built for several instruction sets where the compiler and the linker can choose between them. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) &&              \
    !defined(MULTIVISIT_ONE_BUILD)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ------------------------------------------------------------------ stacks */

/* Pixels whose values are sorted side by side. */
#define BLOCK 64
#define LARGEST_STACK 32767

typedef struct {
    const float *values;
    const uint8_t *bad;
    ptrdiff_t n_images, n_pixels;
    int n_low, n_high, mean;
    float *value, *lowest;
    int32_t *count;
} Stack;

/* Sort each column of an n x BLOCK table upwards by Batcher's merge exchange (Knuth, volume 3, algorithm M). */
static inline __attribute__((always_inline)) void sort_columns(float *table, ptrdiff_t n)
{
    ptrdiff_t top = 1;
    while (2 * top < n) {
        top *= 2;
    }
    if (n < 2) {
        return;
    }
    for (ptrdiff_t p = top; p > 0; p /= 2) {
        ptrdiff_t q = top, r = 0, d = p;
        for (;;) {
            for (ptrdiff_t i = 0; i < n - d; i++) {
                if ((i & p) != r) {
                    continue;
                }
                float *low = table + i * BLOCK, *high = table + (i + d) * BLOCK;
                for (int k = 0; k < BLOCK; k++) {
                    float a = low[k], b = high[k];
                    low[k] = MIN(a, b);
                    high[k] = MAX(a, b);
                }
            }
            if (q == p) {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
    }
}

CLONES static void combine_block(const Stack *stack, ptrdiff_t first, int width, float *table)
{
    int32_t count[BLOCK] = {0};
    for (ptrdiff_t i = 0; i < stack->n_images; i++) {
        const float *values = stack->values + i * stack->n_pixels + first;
        const uint8_t *bad = stack->bad + i * stack->n_pixels + first;
        float *row = table + i * BLOCK;
        for (int k = 0; k < width; k++) {
            count[k] += !bad[k];
            row[k] = bad[k] ? FLT_MAX : values[k];
        }
        for (int k = width; k < BLOCK; k++) {
            row[k] = FLT_MAX;
        }
    }
    sort_columns(table, stack->n_images);
    for (int k = 0; k < width; k++) {
        int n = count[k];
        /* Where nothing would be left nothing is dropped. */
        int drops = n > stack->n_low + stack->n_high;
        int low = drops ? stack->n_low : 0, high = n - (drops ? stack->n_high : 0);
        float value = 0.0f;
        if (n == 0) {
            value = 0.0f;
        } else if (stack->mean) {
            double sum = 0.0;
            for (int i = low; i < high; i++) {
                sum += table[i * BLOCK + k];
            }
            value = (float)(sum / (high - low));
        } else {
            float a = table[(low + (high - low - 1) / 2) * BLOCK + k];
            float b = table[(low + (high - low) / 2) * BLOCK + k];
            value = 0.5f * a + 0.5f * b;
        }
        stack->value[first + k] = value;
        stack->lowest[first + k] = n ? table[k] : 0.0f;
        stack->count[first + k] = n;
    }
}

/* ------------------------------------------------------------------ interpolation */

#define MOST_TAPS 15

enum { NEAREST, LINEAR, POLY3, POLY5, SPLINE3, SINC, N_KINDS };
static const char *const kind_names[N_KINDS] = {"nearest", "linear", "poly3", "poly5", "spline3", "sinc"};

typedef struct {
    const float *image;
    ptrdiff_t rows, columns;
    const double *positions;
    ptrdiff_t n;
    int kind;
    double sinc_scale;
    float *out;
} Blot;

/* Weights of the polynomial of degree 3 or 5 through the points around a fraction t of the way from point 0 to 1
 * (Lagrange's form; the first point is -1 or -2). */
static inline void cubic_weights(float t, float *w)
{
    float a = t + 1.0f, b = t - 1.0f, c = t - 2.0f;
    w[0] = -t * b * c / 6.0f;
    w[1] = a * b * c / 2.0f;
    w[2] = -a * t * c / 2.0f;
    w[3] = a * t * b / 6.0f;
}

static inline void quintic_weights(float t, float *w)
{
    float z = t + 2.0f, a = t + 1.0f, b = t - 1.0f, c = t - 2.0f, d = t - 3.0f;
    w[0] = -a * t * b * c * d / 120.0f;
    w[1] = z * t * b * c * d / 24.0f;
    w[2] = -z * a * b * c * d / 12.0f;
    w[3] = z * a * t * c * d / 12.0f;
    w[4] = -z * a * t * b * d / 24.0f;
    w[5] = z * a * t * b * c / 120.0f;
}

static inline void spline_weights(float t, float *w)
{
    float s = 1.0f - t;
    w[0] = s * s * s / 6.0f;
    w[1] = 2.0f / 3.0f - 0.5f * t * t * (2.0f - t);
    w[2] = 2.0f / 3.0f - 0.5f * s * s * (2.0f - s);
    w[3] = t * t * t / 6.0f;
}

/* Weights of a sinc under a squared cosine that is 0 seven points away, made to sum to 1; t from the middle. */
static inline void sinc_weights(float t, float scale, float *w)
{
    const float pi = 3.14159265f;
    float sum = 0.0f, x = t * scale;
    for (int j = -7; j <= 7; j++) {
        float away = x - j, taper = cosf(pi * j / 14.0f);
        float value = fabsf(away) < 1e-4f ? 1.0f : sinf(pi * away) / (pi * away);
        w[j + 7] = value * taper * taper;
        sum += w[j + 7];
    }
    for (int j = 0; j < 15; j++) {
        w[j] /= sum;
    }
}

/* Where the full stencil meets pixels without data: the mean of the nearest four, by distance, of those with
 * data; NaN where the nearest has none. */
static float nearby(const Blot *blot, double x, double y)
{
    ptrdiff_t i = (ptrdiff_t)floor(x), j = (ptrdiff_t)floor(y);
    float sum = 0.0f, total = 0.0f;
    ptrdiff_t near_i = (ptrdiff_t)floor(x + 0.5), near_j = (ptrdiff_t)floor(y + 0.5);
    if (near_i < 0 || near_i >= blot->columns || near_j < 0 || near_j >= blot->rows) {
        return NAN;
    }
    float nearest = blot->image[near_j * blot->columns + near_i];
    if (isnan(nearest) || blot->kind == NEAREST) {
        return nearest;
    }
    for (ptrdiff_t row = MAX(j, 0); row <= MIN(j + 1, blot->rows - 1); row++) {
        for (ptrdiff_t column = MAX(i, 0); column <= MIN(i + 1, blot->columns - 1); column++) {
            float value = blot->image[row * blot->columns + column];
            float weight = (float)((1.0 - fabs(x - column)) * (1.0 - fabs(y - row)));
            if (!isnan(value)) {
                sum += weight * value;
                total += weight;
            }
        }
    }
    return sum / total;
}

/* One position; `taps` and `before` are constants in each call, so that loops are unrolled. */
static inline __attribute__((always_inline)) float
interpolate(const Blot *blot, double x, double y, int kind, int taps, int before)
{
    float across[MOST_TAPS], down[MOST_TAPS];
    double left = kind == SINC ? floor(x + 0.5) : floor(x), top = kind == SINC ? floor(y + 0.5) : floor(y);
    /* Written so that it is false for a position that is no number. */
    if (!(left - before >= 0.0 && top - before >= 0.0 && left - before + taps <= (double)blot->columns &&
          top - before + taps <= (double)blot->rows)) {
        return x > -1.0 && y > -1.0 && x < (double)blot->columns && y < (double)blot->rows ? nearby(blot, x, y)
                                                                                             : NAN;
    }
    float fx = (float)(x - left), fy = (float)(y - top);
    if (kind == LINEAR) {
        across[0] = 1.0f - fx, across[1] = fx;
        down[0] = 1.0f - fy, down[1] = fy;
    } else if (kind == POLY3) {
        cubic_weights(fx, across);
        cubic_weights(fy, down);
    } else if (kind == POLY5) {
        quintic_weights(fx, across);
        quintic_weights(fy, down);
    } else if (kind == SPLINE3) {
        spline_weights(fx, across);
        spline_weights(fy, down);
    } else {
        sinc_weights(fx, (float)blot->sinc_scale, across);
        sinc_weights(fy, (float)blot->sinc_scale, down);
    }
    const float *corner = blot->image + ((ptrdiff_t)top - before) * blot->columns + ((ptrdiff_t)left - before);
    float value = 0.0f;
    for (int j = 0; j < taps; j++) {
        const float *row = corner + j * blot->columns;
        float sum = 0.0f;
        for (int i = 0; i < taps; i++) {
            sum += across[i] * row[i];
        }
        value += down[j] * sum;
    }
    return isnan(value) ? nearby(blot, x, y) : value;
}

CLONES static void blot_pixels(const Blot *blot)
{
    for (ptrdiff_t k = 0; k < blot->n; k++) {
        double x = blot->positions[2 * k], y = blot->positions[2 * k + 1];
        float value;
        switch (blot->kind) {
        case POLY5:
            value = interpolate(blot, x, y, POLY5, 6, 2);
            break;
        case POLY3:
            value = interpolate(blot, x, y, POLY3, 4, 1);
            break;
        case SPLINE3:
            value = interpolate(blot, x, y, SPLINE3, 4, 1);
            break;
        case LINEAR:
            value = interpolate(blot, x, y, LINEAR, 2, 0);
            break;
        case SINC:
            value = interpolate(blot, x, y, SINC, 15, 7);
            break;
        default:
            value = x > -1.0 && y > -1.0 && x < (double)blot->columns && y < (double)blot->rows
                        ? nearby(blot, x, y)
                        : NAN;
        }
        blot->out[k] = value;
    }
}

/* ------------------------------------------------------------------ the test */

#define LOOSE 1
#define STRINGENT 2

typedef struct {
    const float *science, *model;
    ptrdiff_t rows, columns;
    float time, background, variance;
    float snr[2], scale[2];
    uint8_t *flags;
} Test;

/* Largest difference of a pixel from a neighbour; comparisons with NaN are false. */
static inline float steeper(float slope, float here, float there)
{
    float difference = fabsf(here - there);
    return difference > slope ? difference : slope;
}

CLONES static void test_row(const Test *test, ptrdiff_t row)
{
    ptrdiff_t nx = test->columns;
    const float *model = test->model + row * nx, *science = test->science + row * nx;
    const float *below = row > 0 ? model - nx : model, *above = row < test->rows - 1 ? model + nx : model;
    uint8_t *flags = test->flags + row * nx;
    for (ptrdiff_t i = 0; i < nx; i++) {
        float here = model[i];
        float slope = steeper(0.0f, here, below[i]);
        slope = steeper(slope, here, above[i]);
        slope = steeper(slope, here, model[i > 0 ? i - 1 : i]);
        slope = steeper(slope, here, model[i < nx - 1 ? i + 1 : i]) * test->time;
        float away = fabsf(science[i] - here) * test->time;
        float noise = sqrtf(fabsf(here * test->time + test->background) + test->variance);
        int loose = away > test->scale[0] * slope + test->snr[0] * noise;
        int stringent = away > test->scale[1] * slope + test->snr[1] * noise;
        flags[i] = (uint8_t)(loose * LOOSE + stringent * STRINGENT);
    }
}

/* ------------------------------------------------------------------ Python */

/* Whether a buffer is contiguous, holds items of a size, and as many as expected. */
static int fits(const Py_buffer *buffer, Py_ssize_t item, Py_ssize_t n, const char *name)
{
    if (buffer->itemsize != item || buffer->len != n * item) {
        PyErr_Format(PyExc_ValueError, "%s: found %zd bytes in items of %zd, expected %zd items of %zd", name,
                     buffer->len, buffer->itemsize, n, item);
        return 0;
    }
    return 1;
}

static PyObject *combine_stack(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer values, bad, value, lowest, count;
    int n_images, n_low, n_high, mean;
    if (!PyArg_ParseTuple(args, "y*y*iiipw*w*w*", &values, &bad, &n_images, &n_low, &n_high, &mean, &value,
                          &lowest, &count)) {
        return NULL;
    }
    PyObject *result = NULL;
    Py_ssize_t n_pixels = value.len / 4;
    if (n_images < 1 || n_images > LARGEST_STACK || n_low < 0 || n_high < 0) {
        PyErr_SetString(PyExc_ValueError, "found an impossible number of images or of values to drop");
    } else if (fits(&values, 4, n_images * n_pixels, "values") && fits(&bad, 1, n_images * n_pixels, "bad") &&
               fits(&value, 4, n_pixels, "value") && fits(&lowest, 4, n_pixels, "lowest") &&
               fits(&count, 4, n_pixels, "count")) {
        float *table = malloc(sizeof(float) * BLOCK * (size_t)n_images);
        if (table == NULL) {
            PyErr_NoMemory();
        } else {
            Stack stack = {values.buf, bad.buf, n_images, n_pixels, n_low, n_high, mean,
                           value.buf, lowest.buf, count.buf};
            Py_BEGIN_ALLOW_THREADS
            for (ptrdiff_t first = 0; first < n_pixels; first += BLOCK) {
                combine_block(&stack, first, (int)MIN(BLOCK, n_pixels - first), table);
            }
            Py_END_ALLOW_THREADS
            free(table);
            result = Py_NewRef(Py_None);
        }
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&bad);
    PyBuffer_Release(&value);
    PyBuffer_Release(&lowest);
    PyBuffer_Release(&count);
    return result;
}

static PyObject *blot(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer image, positions, out;
    Py_ssize_t rows, columns;
    const char *name;
    double sinc_scale;
    if (!PyArg_ParseTuple(args, "y*nny*sdw*", &image, &rows, &columns, &positions, &name, &sinc_scale, &out)) {
        return NULL;
    }
    PyObject *result = NULL;
    Py_ssize_t n = out.len / 4;
    int kind = 0;
    while (kind < N_KINDS && strcmp(name, kind_names[kind]) != 0) {
        kind++;
    }
    if (kind == N_KINDS) {
        PyErr_Format(PyExc_ValueError, "found an unknown interpolation %s", name);
    } else if (rows < 1 || columns < 1) {
        PyErr_SetString(PyExc_ValueError, "found an image without pixels");
    } else if (fits(&image, 4, rows * columns, "image") && fits(&positions, 8, 2 * n, "positions") &&
               fits(&out, 4, n, "out")) {
        Blot all = {image.buf, rows, columns, positions.buf, n, kind, sinc_scale, out.buf};
        Py_BEGIN_ALLOW_THREADS
        blot_pixels(&all);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&positions);
    PyBuffer_Release(&out);
    return result;
}

static PyObject *test_pixels(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer science, model, flags;
    Test test;
    if (!PyArg_ParseTuple(args, "y*y*nnfff(ff)(ff)w*", &science, &model, &test.rows, &test.columns, &test.time,
                          &test.background, &test.variance, &test.snr[0], &test.snr[1], &test.scale[0],
                          &test.scale[1], &flags)) {
        return NULL;
    }
    PyObject *result = NULL;
    Py_ssize_t n = test.rows * test.columns;
    if (test.rows < 1 || test.columns < 1) {
        PyErr_SetString(PyExc_ValueError, "found a chip without pixels");
    } else if (fits(&science, 4, n, "science") && fits(&model, 4, n, "model") && fits(&flags, 1, n, "flags")) {
        test.science = science.buf;
        test.model = model.buf;
        test.flags = flags.buf;
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t row = 0; row < test.rows; row++) {
            test_row(&test, row);
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&science);
    PyBuffer_Release(&model);
    PyBuffer_Release(&flags);
    return result;
}

static PyMethodDef methods[] = {
    {"combine_stack", combine_stack, METH_VARARGS, "Median or mean of each pixel of a stack; see median.py."},
    {"blot", blot, METH_VARARGS, "Interpolate an image at given positions; see blot.py."},
    {"test_pixels", test_pixels, METH_VARARGS, "Compare a chip with a model of it; see cosmic_rays.py."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_outliers", "The loops over pixels of outlier rejection.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__outliers(void) { return PyModule_Create(&definition); }
