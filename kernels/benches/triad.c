/* The same triad in C with OpenMP, for triad_vs_c.sh: triad ELEMENTS f32|f64 THREADS [SECONDS].
 * Prints the best and the median nanoseconds per iteration over samples of at least a millisecond.
 * Compiled with `gcc -O3 -march=native -fopenmp`. The parallel region is entered once per sample and the work-sharing
 * loop, whose end is a barrier, once per iteration: the form of OpenMP that costs least. */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Like the buffers that it is compared with: aligned to a page, or in huge pages where one fits. */
static void *allocate(size_t bytes) {
    size_t align = bytes >= (2u << 20) ? 2u << 20 : 4096, whole = (bytes + align - 1) / align * align;
    void *memory = aligned_alloc(align, whole);
    if (memory && align > 4096) madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}

#define DEFINE(T)                                                                          \
    static uint64_t time_##T(T *restrict a, const T *restrict b, const T *restrict c,      \
                             size_t n, uint64_t iterations) {                              \
        const T scalar = (T)0.4;                                                           \
        uint64_t start = 0, end = 0;                                                       \
        _Pragma("omp parallel") {                                                          \
            _Pragma("omp barrier")                                                         \
            _Pragma("omp master") start = now_ns();                                        \
            for (uint64_t it = 0; it < iterations; it++) {                                 \
                _Pragma("omp for schedule(static)")                                        \
                for (size_t i = 0; i < n; i++) a[i] = b[i] + scalar * c[i];                \
                __asm__ volatile("" : : "r"(a), "r"(b), "r"(c) : "memory");                \
            }                                                                              \
            _Pragma("omp master") end = now_ns();                                          \
        }                                                                                  \
        return end - start;                                                                \
    }                                                                                      \
    static void run_##T(size_t n, double seconds) {                                        \
        T *a = allocate(n * sizeof(T)), *b = allocate(n * sizeof(T)), *c = allocate(n * sizeof(T)); \
        _Pragma("omp parallel for schedule(static)")                                       \
        for (size_t i = 0; i < n; i++) {                                                   \
            a[i] = 0; b[i] = (T)(i % 97) / 97; c[i] = (T)(i % 89) / 89;                    \
        }                                                                                  \
        size_t count = 0, room = 1 << 20;                                                  \
        double *times = malloc(room * sizeof *times);                                      \
        uint64_t begin = now_ns(), iterations = 1;                                         \
        while (count == 0 || (now_ns() - begin < seconds * 1e9 && count < room)) {         \
            uint64_t ns = time_##T(a, b, c, n, iterations);                                \
            if (ns < 1000000) iterations *= 2;                                             \
            else times[count++] = (double)ns / (double)iterations;                         \
        }                                                                                  \
        qsort(times, count, sizeof *times, by_value);                                      \
        printf("%.1f %.1f\n", times[0], times[count / 2]);                                 \
    }
DEFINE(float)
DEFINE(double)

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "triad ELEMENTS f32|f64 THREADS [SECONDS]\n"), 2;
    omp_set_num_threads(atoi(argv[3]));
    size_t n = strtoull(argv[1], 0, 10);
    double seconds = argc > 4 ? atof(argv[4]) : 1;
    if (strcmp(argv[2], "f64") == 0) run_double(n, seconds);
    else run_float(n, seconds);
    return 0;
}
