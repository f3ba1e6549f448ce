/* What bounds ops of the host that memory's bandwidth does not: the plainest loops with the same accesses and nothing else.
 *
 *   limits random-loads ELEMENTS THREADS   loads of 4 bytes at random places of as many (gather, scatter, columns of spmv)
 *   limits random-stores ELEMENTS THREADS  stores of 4 bytes to random places of as many (scatter): each line is read and written back
 *   limits products ELEMENTS THREADS       sixteen times as many loads, each times a number that is read in order (spmv)
 *   limits table-stores BINS THREADS       stores to random places of a table in the first cache (histogram, digits of radix sort)
 *
 * Prints nanoseconds per access of all threads together, the best of ten tries. Compiled with `gcc -O3 -march=native -fopenmp`.
 * Places are random numbers of xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators,
 * scrambled", ACM TOMS 42(4), 2016), read in order from memory, or from the first cache where the table is in there. */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint32_t *allocate(size_t count) {
    size_t huge = 2u << 20, bytes = (count * sizeof(uint32_t) + huge - 1) / huge * huge;
    uint32_t *memory = aligned_alloc(huge, bytes);
    if (!memory) exit(1);
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 1, bytes);
    return memory;
}

static void fill(uint32_t *places, size_t count, uint64_t below) {
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < count; ++i) {
        x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
        places[i] = (uint32_t)(((x * 2685821657736338717u >> 32) * below) >> 32);
    }
}

/* Sums, so that no load is left out; lines are on their way long before, into the second cache, or a core waits for fewer at once. */
static uint32_t load(const uint32_t *table, const uint32_t *places, size_t count) {
    uint32_t sum = 0;
    for (size_t i = 0; i < count; ++i) {
        __builtin_prefetch(table + places[i + 256 < count ? i + 256 : i], 0, 2);
        sum += table[places[i]];
    }
    return sum;
}

/* The same, each times a value; the bits of both are taken for floats. */
static float multiply(const float *table, const float *values, const uint32_t *places, size_t count) {
    float sums[8] = {0};
    for (size_t i = 0; i < count; ++i) {
        __builtin_prefetch(table + places[i + 256 < count ? i + 256 : i], 0, 2);
        sums[i % 8] += values[i] * table[places[i]];
    }
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

/* The same with stores. */
static void store_far(volatile uint32_t *table, const uint32_t *places, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        __builtin_prefetch((const uint32_t *)table + places[i + 256 < count ? i + 256 : i], 0, 2);
        table[places[i]] = (uint32_t)i;
    }
}

/* To eight tables in turn: no store waits for the one before, or overwrites it unseen. */
static void store(volatile uint32_t *tables, size_t bins, const uint32_t *places, size_t count) {
    for (size_t i = 0; i + 8 <= count; i += 8)
        for (size_t table = 0; table < 8; ++table) tables[table * bins + places[i + table]] = 1;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    size_t size = strtoull(argv[2], 0, 0);
    int threads = atoi(argv[3]), is_load = !strcmp(argv[1], "random-loads"), is_product = !strcmp(argv[1], "products");
    int is_far = is_load || is_product || !strcmp(argv[1], "random-stores");
    /* Of stores to a table that is near, few places again and again. */
    size_t count = is_product ? 16 * size : is_far ? size : 4096, times = is_far ? 1 : 65536;
    uint32_t *places = allocate(count), *table = is_far ? allocate(size) : 0, *values = is_product ? allocate(count) : 0;
    fill(places, count, size);
    double best = 1e30;
    for (int attempt = 0; attempt < 10; ++attempt) {
        double start = 0, end = 0;
#pragma omp parallel num_threads(threads)
        {
            uint32_t *own = is_far ? 0 : calloc(8 * size, sizeof *own), sum = 0;
            size_t part = count / (size_t)threads, first = part * (size_t)omp_get_thread_num();
#pragma omp barrier
#pragma omp master
            start = now_ns();
            if (is_load) sum = load(table, places + first, part);
            else if (is_product) sum = (uint32_t)multiply((float *)table, (float *)values + first, places + first, part);
            else if (is_far) store_far(table, places + first, part);
            else for (size_t time = 0; time < times; ++time) store(own, size, places, count);
            __asm__ volatile("" : : "r"(sum) : "memory");
#pragma omp barrier
#pragma omp master
            end = now_ns();
            free(own);
        }
        double accesses = is_far ? (double)(count / (size_t)threads) : (double)count * (double)times;
        double ns = (end - start) / (accesses * threads);
        if (ns < best) best = ns;
    }
    printf("%.3f\n", best);
    return 0;
}
