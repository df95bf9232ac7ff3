/* The drizzle kernels square, turbo and point for chips whose pixel map is a polynomial plus knots.
 *
 * One Python extension module without dependencies; arrays come in through the buffer protocol.  The loops over
 * pixels are in _kernel_body.h, built here for each instruction set that the compiler knows, and chosen when
 * the module is used.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && !defined(MULTIVISIT_PORTABLE_ONLY)
#include <immintrin.h>
#define HAVE_X86_BUILDS 1
#endif

#include "_kernel.h"

/* Vectors are handed to functions of this file alone, all of them inlined. */
#pragma GCC diagnostic ignored "-Wpsabi"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll 4")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

/* A number in single precision by its bits. */
typedef int32_t FloatBits __attribute__((may_alias));

/* Numbers of neighbouring output pixels. */
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t FourFlags __attribute__((vector_size(16), aligned(4), may_alias));

/* The pair of numbers that 64 bits hold, twice. */
typedef int64_t TwoPairs __attribute__((vector_size(16)));
#define PAIR_TWICE(bits) ((Four)(TwoPairs){bits, bits})

/* Arithmetic that wraps where positions at LIMIT meet others. */
#define DIFFERENCE(v, w) ((NAME(Flags))((NAME(Wrapping))(v) - (NAME(Wrapping))(w)))

/* Limits that only guard divisions, in small units (and their square). */
#define SMALLEST_STEP 0.01f
#define SMALLEST_AREA 0.1f

/* Least area of a pixel, in units of that of the upright box about it, for single precision. */
#define THINNEST 0.125

/* Places along each axis of a chip at which its map is sampled. */
#define SAMPLES 5

/* Most output pixels that the terms left out of a local polynomial may be worth, and how many are kept anyway. */
#define SMALLEST_TERM 2.5e-7
#define FEWEST_LOCAL_TERMS 4

/* How many chip rows ahead memory is asked for. */
#define INPUT_ROWS_AHEAD 12
#define OUTPUT_ROWS_AHEAD 12

/* Rearrangements of the numbers of two vectors.  Within each quarter of 16 numbers (half of 8), numbers and
 * pairs are joined in turn from both; or numbers of one are doubled, of its quarters or of its halves. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(v, w, ...) __builtin_shufflevector(v, w, __VA_ARGS__)
#else
#define SHUFFLE(v, w, ...) __builtin_shuffle(v, w, (NAME(Flags)){__VA_ARGS__})
#endif
#define LOW_PAIRS_16(v, w) SHUFFLE(v, w, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH_PAIRS_16(v, w) SHUFFLE(v, w, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW_HALVES_16(v, w) SHUFFLE(v, w, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH_HALVES_16(v, w) SHUFFLE(v, w, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define LOW_TWICE_16(v) SHUFFLE(v, v, 0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13)
#define HIGH_TWICE_16(v) SHUFFLE(v, v, 2, 2, 3, 3, 6, 6, 7, 7, 10, 10, 11, 11, 14, 14, 15, 15)
#define FIRST_TWICE_16(v) SHUFFLE(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
#define SECOND_TWICE_16(v) SHUFFLE(v, v, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15)
#define LOW_PAIRS_8(v, w) SHUFFLE(v, w, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_PAIRS_8(v, w) SHUFFLE(v, w, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_HALVES_8(v, w) SHUFFLE(v, w, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_HALVES_8(v, w) SHUFFLE(v, w, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_TWICE_8(v) SHUFFLE(v, v, 0, 0, 1, 1, 4, 4, 5, 5)
#define HIGH_TWICE_8(v) SHUFFLE(v, v, 2, 2, 3, 3, 6, 6, 7, 7)
#define FIRST_TWICE_8(v) SHUFFLE(v, v, 0, 0, 1, 1, 2, 2, 3, 3)
#define SECOND_TWICE_8(v) SHUFFLE(v, v, 4, 4, 5, 5, 6, 6, 7, 7)
#define LOW_PAIRS_4(v, w) SHUFFLE(v, w, 0, 4, 1, 5)
#define HIGH_PAIRS_4(v, w) SHUFFLE(v, w, 2, 6, 3, 7)
#define LOW_HALVES_4(v, w) SHUFFLE(v, w, 0, 1, 4, 5)
#define HIGH_HALVES_4(v, w) SHUFFLE(v, w, 2, 3, 6, 7)
#define LOW_TWICE_4(v) SHUFFLE(v, v, 0, 0, 1, 1)
#define HIGH_TWICE_4(v) SHUFFLE(v, v, 2, 2, 3, 3)
#define FIRST_TWICE_4(v) LOW_TWICE_4(v)
#define SECOND_TWICE_4(v) HIGH_TWICE_4(v)
#define JOIN_NAMES(a, b) a##b
#define WITH_LANES(name, lanes) JOIN_NAMES(name, lanes)
#define LOW_PAIRS WITH_LANES(LOW_PAIRS_, LANES)
#define HIGH_PAIRS WITH_LANES(HIGH_PAIRS_, LANES)
#define LOW_HALVES WITH_LANES(LOW_HALVES_, LANES)
#define HIGH_HALVES WITH_LANES(HIGH_HALVES_, LANES)
#define LOW_TWICE WITH_LANES(LOW_TWICE_, LANES)
#define HIGH_TWICE WITH_LANES(HIGH_TWICE_, LANES)
#define FIRST_TWICE WITH_LANES(FIRST_TWICE_, LANES)
#define SECOND_TWICE WITH_LANES(SECOND_TWICE_, LANES)

/* The lane whose numbers come in a slot, when they have been joined by lanes. */
#define LANE_OF(slot) ((slot) % (LANES / 4) * 4 + (slot) / (LANES / 4))

#include "_kernel_exact.h"
#include "_kernel_patches.h"

/* ------------------------------------------------------------------ builds for instruction sets */

/* Operations on vectors: the smaller and larger of whole numbers and of numbers, whether any number is not 0,
 * v w + sum and sum - v w, the first also of half as many doubles, of four numbers and of one, eight sums in
 * memory to which v times the pair of numbers in 64 bits is added, the reciprocals of numbers that are not 0 to
 * single precision, numbers of `v` where `sign` is positive and of `negative` elsewhere, and `v` where `other` is
 * above `limit`, else 0.
 *
 * Products and sums are fused here and nowhere else, since compilers may not do it by themselves: so all paths
 * through a build make the same bits. */
#define NAME(function) function##_portable
#define LANES 4
#define CHOOSE(mask, yes, no) ((NAME(Flags))(((mask) & (NAME(Flags))(yes)) | (~(mask) & (NAME(Flags))(no))))
#define SMALLER(v, w) CHOOSE((v) < (w), v, w)
#define LARGER(v, w) CHOOSE((v) < (w), w, v)
#define MINIMUM(v, w) ((NAME(Vector))CHOOSE((v) < (w), v, w))
#define MAXIMUM(v, w) ((NAME(Vector))CHOOSE((v) < (w), w, v))
#define FUSED(v, w, sum) ((v) * (w) + (sum))
#define FUSED_AWAY(v, w, sum) ((sum) - (v) * (w))
#define FUSED_FOUR FUSED
#define FUSED_ONE FUSED
#define FUSED_DOUBLES FUSED
#define ADD_EIGHT(sums, v, bits)                                                                              \
    (((Four *)(sums))[0] += *(const Four *)(v) * PAIR_TWICE(bits),                                            \
     ((Four *)(sums))[1] += *(const Four *)((v) + 4) * PAIR_TWICE(bits))
#define RECIPROCAL(v) (1.0f / (v))
#define IF_NEGATIVE(sign, negative, v) ((NAME(Vector))CHOOSE((NAME(Flags))(sign) < 0, negative, v))
#define KEPT_ABOVE(v, other, limit) ((NAME(Vector))(((other) > (limit)) & (NAME(Flags))(v)))
#define ANY(v) NAME(any)(v)
#define JOINED(low, high) ((NAME(Flags)){(low)[0], (low)[1], (high)[0], (high)[1]})
#include "_kernel_body.h"

/* What follows is not different for lanes of other numbers. */
#undef FUSED_FOUR
#undef FUSED_ONE
#undef ADD_EIGHT

#ifdef HAVE_X86_BUILDS
#define FUSED_FOUR(v, w, sum) ((Four)_mm_fmadd_ps((__m128)(v), (__m128)(w), (__m128)(sum)))
#define ADD_EIGHT(sums, v, bits)                                                                              \
    _mm256_storeu_ps(sums, _mm256_fmadd_ps(_mm256_loadu_ps(v), (__m256)_mm256_set1_epi64x(bits),              \
                                           _mm256_loadu_ps(sums)))
#define FUSED_ONE __builtin_fmaf

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define NAME(function) function##_avx2
#define LANES 8
#define SMALLER(v, w) ((NAME(Flags))_mm256_min_epi32((__m256i)(v), (__m256i)(w)))
#define LARGER(v, w) ((NAME(Flags))_mm256_max_epi32((__m256i)(v), (__m256i)(w)))
#define MINIMUM(v, w) ((NAME(Vector))_mm256_min_ps((__m256)(v), (__m256)(w)))
#define MAXIMUM(v, w) ((NAME(Vector))_mm256_max_ps((__m256)(v), (__m256)(w)))
#define FUSED(v, w, sum) ((NAME(Vector))_mm256_fmadd_ps((__m256)(v), (__m256)(w), (__m256)(sum)))
#define FUSED_AWAY(v, w, sum) ((NAME(Vector))_mm256_fnmadd_ps((__m256)(v), (__m256)(w), (__m256)(sum)))
#define FUSED_DOUBLES(v, w, sum) ((NAME(Doubles))_mm256_fmadd_pd((__m256d)(v), (__m256d)(w), (__m256d)(sum)))
#define RECIPROCAL(v) NAME(improved_reciprocal)(v, (NAME(Vector))_mm256_rcp_ps((__m256)(v)))
#define IF_NEGATIVE(sign, negative, v)                                                                        \
    ((NAME(Vector))_mm256_blendv_ps((__m256)(v), (__m256)(negative), (__m256)(sign)))
#define KEPT_ABOVE(v, other, limit) ((NAME(Vector))(((other) > (limit)) & (NAME(Flags))(v)))
#define JOINED(low, high)                                                                                     \
    ((NAME(Flags))_mm256_inserti128_si256(_mm256_castsi128_si256((__m128i)(low)), (__m128i)(high), 1))
#define ANY(v) (_mm256_testz_si256((__m256i)(v), (__m256i)(v)) == 0)
#include "_kernel_body.h"
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl"))),         \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")
#endif
#define NAME(function) function##_avx512
#define LANES 16
#define SMALLER(v, w) ((NAME(Flags))_mm512_min_epi32((__m512i)(v), (__m512i)(w)))
#define LARGER(v, w) ((NAME(Flags))_mm512_max_epi32((__m512i)(v), (__m512i)(w)))
#define MINIMUM(v, w) ((NAME(Vector))_mm512_min_ps((__m512)(v), (__m512)(w)))
#define MAXIMUM(v, w) ((NAME(Vector))_mm512_max_ps((__m512)(v), (__m512)(w)))
#define FUSED(v, w, sum) ((NAME(Vector))_mm512_fmadd_ps((__m512)(v), (__m512)(w), (__m512)(sum)))
#define FUSED_AWAY(v, w, sum) ((NAME(Vector))_mm512_fnmadd_ps((__m512)(v), (__m512)(w), (__m512)(sum)))
#define FUSED_DOUBLES(v, w, sum) ((NAME(Doubles))_mm512_fmadd_pd((__m512d)(v), (__m512d)(w), (__m512d)(sum)))
#define RECIPROCAL(v) NAME(improved_reciprocal)(v, (NAME(Vector))_mm512_rcp14_ps((__m512)(v)))
#define IF_NEGATIVE(sign, negative, v)                                                                        \
    ((NAME(Vector))_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)(sign)), (__m512)(v), (__m512)(negative)))
#define KEPT_ABOVE(v, other, limit)                                                                           \
    ((NAME(Vector))_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)(other), (__m512)(limit), _CMP_GT_OQ), (__m512)(v)))
#define JOINED(low, high)                                                                                     \
    ((NAME(Flags))_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)(low)), (__m256i)(high), 1))
#define ANY(v) (_mm512_test_epi32_mask((__m512i)(v), (__m512i)(v)) != 0)
#include "_kernel_body.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

typedef struct {
    const char *name;
    int lanes;
    ptrdiff_t (*add_chip)(const Job *job);
    void (*divide)(const float *sums, ptrdiff_t n, float fill, float *science, float *weight);
} Build;

/* The builds that this processor can run, best first. */
static Build usable_builds[3];
static int n_usable_builds;

static void find_usable_builds(void)
{
    n_usable_builds = 0;
#ifdef HAVE_X86_BUILDS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        usable_builds[n_usable_builds++] = (Build){"avx512", 16, add_chip_avx512, divide_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        usable_builds[n_usable_builds++] = (Build){"avx2", 8, add_chip_avx2, divide_avx2};
#endif
    usable_builds[n_usable_builds++] = (Build){"portable", 4, add_chip_portable, divide_portable};
}

/* Find a build by name, the best one for NULL; sets a ValueError if there is none. */
static const Build *find_build(const char *name)
{
    if (name == NULL)
        return &usable_builds[0];
    for (int i = 0; i < n_usable_builds; i++) {
        if (strcmp(usable_builds[i].name, name) == 0)
            return &usable_builds[i];
    }
    PyErr_Format(PyExc_ValueError, "instruction set %s is not among INSTRUCTION_SETS", name);
    return NULL;
}

/* ------------------------------------------------------------------ a call */

/* Add a chip to a window, with a workspace; -1 if memory runs out. */
static ptrdiff_t run_job(const Build *build, Job *job)
{
    memset(job->workspace, 0, sizeof(Workspace));
    job->shared_edges = job->drop->shape == KERNEL_SQUARE && job->drop->half_width == 0.5;
    choose_sizes(job, (double)BLOCK / build->lanes);
    const double margin = 1.0 + (job->drop->shape == KERNEL_TURBO ? job->drop->half_width : 0.0);
    const ptrdiff_t n_reaching =
        place_patches(job->map, job->chip, job->window, job->bounds->patch_bend + margin, job->patches);
    if (n_reaching <= 0)
        return n_reaching;
    if (!prepare_patch_rows(job))
        return -1;
    if (job->window->touched != NULL)
        touch_chip(job->map, job->chip, job->window, job->bounds->part_bend + margin);
    return build->add_chip(job);
}

/* Add a chip to a window; -1 if memory runs out. */
static ptrdiff_t add_chip(const Build *build, const PixelMap *map, const Chip *chip, const Window *window,
                          const Drop *drop, const Bounds *bounds)
{
    Job job = {.map = map, .chip = chip, .window = window, .drop = drop, .bounds = bounds};
    job.workspace = allocate(sizeof(Workspace));
    job.patches = allocate((size_t)(block_count(chip) * patch_row_count(chip)));
    const ptrdiff_t n_used = job.workspace == NULL || job.patches == NULL ? -1 : run_job(build, &job);
    free(job.workspace);
    free(job.patches);
    free(job.row_terms);
    free(job.edge_places);
    free(job.centre_places);
    return n_used;
}

/* ------------------------------------------------------------------ Python */

/* Whether all numbers are finite, by their bits: the compiler takes that for granted in arithmetic, and would
 * in here too if it saw where the numbers come from. */
static __attribute__((noinline)) int all_finite(const double *values, ptrdiff_t n)
{
    const uint64_t exponent = (uint64_t)0x7ff << 52;
    uint64_t beyond = 0; /* the sign bit, once an exponent is the largest one */
    for (ptrdiff_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        beyond |= (bits & exponent) + ((uint64_t)1 << 52);
    }
    return beyond >> 63 == 0;
}

/* Buffers held during a call, released together. */
typedef struct {
    Py_buffer views[16];
    int n;
} Buffers;

static void release_buffers(Buffers *buffers)
{
    for (int i = 0; i < buffers->n; i++)
        PyBuffer_Release(&buffers->views[i]);
    buffers->n = 0;
}

/* Get a C-contiguous array of a type ('f', 'd', 'i' or '?') and number of dimensions; NULL with an exception. */
static Py_buffer *get_array(Buffers *buffers, PyObject *object, const char *name, char type, int n_dimensions,
                            int writable)
{
    Py_buffer *view = &buffers->views[buffers->n];
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return NULL;
    buffers->n++;
    const char *format = view->format != NULL ? view->format : "B";
    const Py_ssize_t size = type == 'd' ? 8 : type == '?' ? 1 : 4;
    const int same_type = strlen(format) == 1
                          && (*format == type || (type == 'i' && *format == 'l')) && view->itemsize == size;
    if (!same_type || view->ndim != n_dimensions) {
        PyErr_Format(PyExc_ValueError, "%s: found %d dimensions of type '%s', expected %d of type '%c'", name,
                     view->ndim, format, n_dimensions, type);
        return NULL;
    }
    return view;
}

static int check_shape(const Py_buffer *view, const char *name, Py_ssize_t rows, Py_ssize_t columns)
{
    if (view->shape[0] == rows && view->shape[1] == columns)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s: found shape (%zd, %zd), expected (%zd, %zd)", name, view->shape[0],
                 view->shape[1], rows, columns);
    return 0;
}

/* Get a plane of a given shape, or NULL for None; `*failed` tells an exception from that. */
static void *get_plane(Buffers *buffers, PyObject *object, const char *name, char type, int writable,
                       Py_ssize_t rows, Py_ssize_t columns, int *failed)
{
    if (object == Py_None)
        return NULL;
    Py_buffer *view = get_array(buffers, object, name, type, 2, writable);
    if (view != NULL && check_shape(view, name, rows, columns))
        return view->buf;
    *failed = 1;
    return NULL;
}

/* Get a chip's weights, numbers or a mask of the pixels that count; 0 with an exception. */
static int get_weights(Buffers *buffers, PyObject *object, Chip *chip)
{
    Py_buffer probe;
    if (PyObject_GetBuffer(object, &probe, PyBUF_FULL_RO) < 0)
        return 0;
    const int is_mask = probe.format != NULL && strcmp(probe.format, "?") == 0;
    PyBuffer_Release(&probe);
    const Py_buffer *view = get_array(buffers, object, "weight", is_mask ? '?' : 'f', 2, 0);
    if (view == NULL || !check_shape(view, "weight", chip->rows, chip->columns))
        return 0;
    if (is_mask)
        chip->mask = view->buf;
    else
        chip->weight = view->buf;
    return 1;
}

/* Tell which columns of a window's row were touched; all where that is not known. */
static void touched_columns(const int32_t *touched, ptrdiff_t row, ptrdiff_t columns, ptrdiff_t *first,
                            ptrdiff_t *last)
{
    *first = touched == NULL ? 0 : MIN(MAX(touched[2 * row], 0), columns);
    *last = touched == NULL ? columns : MAX(MIN(touched[2 * row + 1], columns), *first);
}

/* Get the columns that were touched in each row of a window, or NULL for None. */
static int32_t *get_touched(Buffers *buffers, PyObject *object, Py_ssize_t rows, int *failed)
{
    return get_plane(buffers, object, "touched", 'i', 1, rows, 2, failed);
}

static int increasing(const double *knots, ptrdiff_t n)
{
    for (ptrdiff_t i = 1; i < n; i++) {
        if (!(knots[i] > knots[i - 1]))
            return 0;
    }
    return 1;
}

/* Read a PixelMap's arrays: (coefficients, x_knots, y_knots, residual). */
static int get_map(Buffers *buffers, PyObject *arrays[4], PixelMap *map)
{
    const Py_buffer *coefficients = get_array(buffers, arrays[0], "coefficients", 'd', 3, 0);
    if (coefficients == NULL)
        return 0;
    map->terms = coefficients->shape[1];
    if (coefficients->shape[0] != 2 || map->terms != coefficients->shape[2] || map->terms < 1
        || map->terms > LARGEST_DEGREE + 1) {
        PyErr_Format(PyExc_ValueError, "coefficients: expected shape (2, n, n) with n up to %d",
                     LARGEST_DEGREE + 1);
        return 0;
    }
    map->coefficients = coefficients->buf;
    const Py_buffer *x = get_array(buffers, arrays[1], "x_knots", 'd', 1, 0);
    const Py_buffer *y = x == NULL ? NULL : get_array(buffers, arrays[2], "y_knots", 'd', 1, 0);
    const Py_buffer *residual = y == NULL ? NULL : get_array(buffers, arrays[3], "residual", 'd', 3, 0);
    if (residual == NULL)
        return 0;
    map->n_x_knots = x->shape[0];
    map->n_y_knots = y->shape[0];
    map->x_knots = x->buf;
    map->y_knots = y->buf;
    map->residual = residual->buf;
    const int none = map->n_x_knots == 0 && map->n_y_knots == 0;
    if ((!none && (map->n_x_knots < 2 || map->n_y_knots < 2)) || residual->shape[0] != 2
        || residual->shape[1] != map->n_y_knots || residual->shape[2] != map->n_x_knots
        || !increasing(map->x_knots, map->n_x_knots) || !increasing(map->y_knots, map->n_y_knots)) {
        PyErr_SetString(PyExc_ValueError, "x_knots, y_knots: expected none or at least two increasing ones "
                                          "each, and a residual of shape (2, y knots, x knots)");
        return 0;
    }
    return 1;
}

static int get_drop(const char *kernel, double pixfrac, double scale_ratio, Drop *drop)
{
    const double numbers[2] = {pixfrac, scale_ratio};
    if (!all_finite(numbers, 2) || pixfrac <= 0.0 || pixfrac > 1.0 || scale_ratio <= 0.0
        || scale_ratio >= LARGEST_POSITION) {
        PyErr_SetString(PyExc_ValueError, "expected 0 < pixfrac <= 1 and a positive scale_ratio");
        return 0;
    }
    drop->half_width = 0.5 * pixfrac;
    if (strcmp(kernel, "square") == 0) {
        drop->shape = KERNEL_SQUARE;
    } else if (strcmp(kernel, "turbo") == 0) {
        drop->shape = KERNEL_TURBO;
        drop->half_width /= scale_ratio;
    } else if (strcmp(kernel, "point") == 0) {
        drop->shape = KERNEL_POINT;
    } else {
        PyErr_Format(PyExc_ValueError, "kernel: found %s, expected square, turbo or point", kernel);
        return 0;
    }
    return 1;
}

PyDoc_STRVAR(add_chip_doc,
             "add_chip(science, weight, coefficients, x_knots, y_knots, residual, centre, half_size, sums, origin,"
             " kernel, pixfrac, scale_ratio, unit_weight=1.0, touched=None, context=None, context_bit=0,"
             " variance=None, variance_sums=None, quality=None, quality_flags=None, instruction_set=None)\n--\n\n"
             "Add a chip to a window of the output; see multivisit.combine.kernel_engine.add_chip_to_rows.");

static PyObject *py_add_chip(PyObject *Py_UNUSED(module), PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"science", "weight", "coefficients", "x_knots", "y_knots", "residual", "centre",
                            "half_size", "sums", "origin", "kernel", "pixfrac", "scale_ratio", "unit_weight",
                            "touched", "context", "context_bit", "variance", "variance_sums", "quality",
                            "quality_flags", "instruction_set", NULL};
    PyObject *science, *weight, *arrays[4], *sums, *touched = Py_None, *context = Py_None, *variance = Py_None;
    PyObject *variance_sums = Py_None, *quality = Py_None, *quality_flags = Py_None;
    PixelMap map = {0};
    Chip chip = {0};
    Window window = {0};
    Drop drop = {KERNEL_SQUARE, 0.5};
    const char *kernel, *instruction_set = NULL;
    double pixfrac, scale_ratio, unit_weight = 1.0;
    Py_ssize_t column, row;
    unsigned int bit = 0;
    if (!PyArg_ParseTupleAndKeywords(
            arguments, keywords, "OOOOOO(dd)(dd)O(nn)sdd|dOOIOOOOz:add_chip", names, &science, &weight, &arrays[0],
            &arrays[1], &arrays[2], &arrays[3], &map.centre[0], &map.centre[1], &map.half_size[0],
            &map.half_size[1], &sums, &column, &row, &kernel, &pixfrac, &scale_ratio, &unit_weight, &touched,
            &context, &bit, &variance, &variance_sums, &quality, &quality_flags, &instruction_set))
        return NULL;
    const Build *build = find_build(instruction_set);
    if (build == NULL || !get_drop(kernel, pixfrac, scale_ratio, &drop))
        return NULL;
    if ((variance == Py_None) != (variance_sums == Py_None) || (quality == Py_None) != (quality_flags == Py_None))
        return PyErr_Format(PyExc_ValueError, "variance and quality need both a chip's plane and a sum's");

    Buffers buffers = {.n = 0};
    PyObject *result = NULL;
    int failed = 0;
    Bounds bounds;
    const Py_buffer *pixels = get_array(&buffers, science, "science", 'f', 2, 0);
    const Py_buffer *output = pixels == NULL ? NULL : get_array(&buffers, sums, "sums", 'f', 3, 1);
    if (output == NULL || !get_map(&buffers, arrays, &map))
        goto done;
    if (output->shape[2] != 2) {
        PyErr_Format(PyExc_ValueError, "sums: found %zd planes, expected 2", output->shape[2]);
        goto done;
    }
    chip.rows = pixels->shape[0];
    chip.columns = pixels->shape[1];
    chip.science = pixels->buf;
    chip.factor = (float)(scale_ratio * scale_ratio);
    window.rows = output->shape[0];
    window.columns = output->shape[1];
    window.first_row = row;
    window.first_column = column;
    window.sums = output->buf;
    window.context_bit = (int32_t)bit;
    if (!get_weights(&buffers, weight, &chip))
        goto done;
    window.touched = get_touched(&buffers, touched, window.rows, &failed);
    chip.variance = get_plane(&buffers, variance, "variance", 'f', 0, chip.rows, chip.columns, &failed);
    chip.quality = get_plane(&buffers, quality, "quality", 'i', 0, chip.rows, chip.columns, &failed);
    window.context = get_plane(&buffers, context, "context", 'i', 1, window.rows, window.columns, &failed);
    window.variance =
        get_plane(&buffers, variance_sums, "variance_sums", 'f', 1, window.rows, window.columns, &failed);
    window.quality =
        get_plane(&buffers, quality_flags, "quality_flags", 'i', 1, window.rows, window.columns, &failed);
    if (failed)
        goto done;
    if (!all_finite(&unit_weight, 1) || unit_weight < 0.0 || unit_weight > FLT_MAX) {
        PyErr_SetString(PyExc_ValueError, "unit_weight: expected a finite number, 0 or more");
        goto done;
    }
    if (!all_finite(map.centre, 2) || !all_finite(map.half_size, 2)
        || !all_finite(map.coefficients, 2 * map.terms * map.terms)
        || !all_finite(map.x_knots, map.n_x_knots) || !all_finite(map.y_knots, map.n_y_knots)
        || !all_finite(map.residual, 2 * map.n_x_knots * map.n_y_knots)) {
        PyErr_SetString(PyExc_ValueError, "the pixel map has numbers that are not finite");
        goto done;
    }
    chip.unit_weight = (float)unit_weight;
    for (int axis = 0; axis < 2; axis++) {
        if (map.half_size[axis] < SMALLEST_HALF_SIZE || map.half_size[axis] > LARGEST_HALF_SIZE) {
            PyErr_SetString(PyExc_ValueError, "the pixel map has a half size out of range: expected 1e-3 to 1e9");
            goto done;
        }
    }
    if (!find_bounds(&map, &chip, &bounds)) {
        PyErr_NoMemory();
        goto done;
    }
    const double bound_numbers[5] = {bounds.value, bounds.patch_bend, bounds.part_bend, bounds.argument[0],
                                     bounds.argument[1]};
    if (!all_finite(bound_numbers, 5) || bounds.value + drop.half_width >= LARGEST_POSITION
        || fabs((double)row) + (double)window.rows >= LARGEST_POSITION
        || fabs((double)column) + (double)window.columns >= LARGEST_POSITION) {
        PyErr_Format(PyExc_ValueError, "the pixel map or the window reaches output pixels beyond %d",
                     (int)LARGEST_POSITION);
        goto done;
    }
    ptrdiff_t n_used = 0;
    if (chip.rows > 0 && chip.columns > 0 && window.rows > 0 && window.columns > 0) {
        Py_BEGIN_ALLOW_THREADS
        n_used = add_chip(build, &map, &chip, &window, &drop, &bounds);
        Py_END_ALLOW_THREADS
    }
    result = n_used < 0 ? PyErr_NoMemory() : PyLong_FromSsize_t(n_used);
done:
    release_buffers(&buffers);
    return result;
}

PyDoc_STRVAR(divide_doc,
             "divide(sums, touched, fill_value, science, weight)\n--\n\n"
             "Write sum(w a d) / sum(w a), or the fill value where there is no weight, and sum(w a).");

static PyObject *py_divide(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *sums, *touched, *science, *weight;
    float fill;
    if (!PyArg_ParseTuple(arguments, "OOfOO:divide", &sums, &touched, &fill, &science, &weight))
        return NULL;
    Buffers buffers = {.n = 0};
    PyObject *result = NULL;
    int failed = 0;
    const Py_buffer *input = get_array(&buffers, sums, "sums", 'f', 3, 0);
    if (input != NULL && input->shape[2] == 2) {
        const Py_ssize_t rows = input->shape[0], columns = input->shape[1];
        const int32_t *reach = get_touched(&buffers, touched, rows, &failed);
        float *values = get_plane(&buffers, science, "science", 'f', 1, rows, columns, &failed);
        float *weights = get_plane(&buffers, weight, "weight", 'f', 1, rows, columns, &failed);
        if (!failed && values != NULL && weights != NULL) {
            const float *from = input->buf;
            Py_BEGIN_ALLOW_THREADS
            for (Py_ssize_t row = 0; row < rows; row++) {
                ptrdiff_t first, last;
                touched_columns(reach, row, columns, &first, &last);
                float *value = values + row * columns, *total = weights + row * columns;
                for (ptrdiff_t i = 0; i < first; i++)
                    value[i] = fill;
                usable_builds[0].divide(from + 2 * (row * columns + first), last - first, fill, value + first,
                                        total + first);
                for (ptrdiff_t i = last; i < columns; i++)
                    value[i] = fill;
                memset(total, 0, (size_t)first * sizeof(float));
                memset(total + last, 0, (size_t)(columns - last) * sizeof(float));
            }
            Py_END_ALLOW_THREADS
            result = Py_NewRef(Py_None);
        }
    }
    if (result == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "divide: expected sums of shape (rows, columns, 2) and two planes");
    release_buffers(&buffers);
    return result;
}

PyDoc_STRVAR(clear_doc, "clear(plane, touched)\n--\n\n"
                        "Set the output pixels of a plane (rows, columns, ...) that were touched to 0.");

static PyObject *py_clear(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *object, *touched;
    if (!PyArg_ParseTuple(arguments, "OO:clear", &object, &touched))
        return NULL;
    Buffers buffers = {.n = 0};
    Py_buffer *plane = &buffers.views[0];
    if (PyObject_GetBuffer(object, plane, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0)
        return NULL;
    buffers.n = 1;
    int failed = plane->ndim < 2;
    if (failed)
        PyErr_Format(PyExc_ValueError, "plane: found %d dimensions, expected at least 2", plane->ndim);
    const int32_t *reach = failed ? NULL : get_touched(&buffers, touched, plane->shape[0], &failed);
    if (!failed && plane->len > 0) {
        const ptrdiff_t rows = plane->shape[0], columns = plane->shape[1], size = plane->len / rows / columns;
        Py_BEGIN_ALLOW_THREADS
        for (ptrdiff_t row = 0; row < rows; row++) {
            ptrdiff_t first, last;
            touched_columns(reach, row, columns, &first, &last);
            memset((char *)plane->buf + (row * columns + first) * size, 0, (size_t)((last - first) * size));
        }
        Py_END_ALLOW_THREADS
    }
    release_buffers(&buffers);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"add_chip", (PyCFunction)(void (*)(void))py_add_chip, METH_VARARGS | METH_KEYWORDS, add_chip_doc},
    {"divide", py_divide, METH_VARARGS, divide_doc},
    {"clear", py_clear, METH_VARARGS, clear_doc},
    {NULL, NULL, 0, NULL},
};

static int execute_module(PyObject *module)
{
    find_usable_builds();
    PyObject *names = PyTuple_New(n_usable_builds);
    if (names == NULL)
        return -1;
    for (int i = 0; i < n_usable_builds; i++) {
        PyObject *name = PyUnicode_FromString(usable_builds[i].name);
        if (name == NULL) {
            Py_DECREF(names);
            return -1;
        }
        PyTuple_SET_ITEM(names, i, name);
    }
    const int status = PyModule_AddObjectRef(module, "INSTRUCTION_SETS", names);
    Py_DECREF(names);
    return status;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute_module},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "multivisit.combine._kernel",
    .m_doc = "Drizzle kernels for chips whose pixel map is a polynomial plus knots.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
