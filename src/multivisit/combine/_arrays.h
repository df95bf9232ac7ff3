/* What the passes over pixels share: builds for several instruction sets, and arrays from Python. */

#ifndef MULTIVISIT_ARRAYS_H
#define MULTIVISIT_ARRAYS_H

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

typedef struct {
    Py_buffer arrays[LARGEST_ARRAYS];
    int n;
} Arrays;

static inline void release(Arrays *arrays)
{
    for (int i = 0; i < arrays->n; i++)
        PyBuffer_Release(&arrays->arrays[i]);
}

/* Take an array of at least `n` elements; sets an error if it is not contiguous, writable or large enough. */
static inline void *take(Arrays *arrays, PyObject *object, const char *name, Py_ssize_t n, Py_ssize_t size,
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

static inline void *take_or_none(Arrays *arrays, PyObject *object, const char *name, Py_ssize_t n, Py_ssize_t size,
                                 int writable)
{
    return object == Py_None ? NULL : take(arrays, object, name, n, size, writable);
}

#endif
