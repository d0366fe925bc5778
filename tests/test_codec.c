/* CODEC: its values on samples whose dependence is known, against the definition written down plainly, and
 * the selection of Markov blankets that are known. */
#include "core/rng.h"
#include "unlearn/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { N = 500, COLUMNS = 24 };

static double y[N];
static float column[COLUMNS][N];

static Rng stream(uint64_t seed, int column_number) {
    return rng_open(seed, RNG_TEST, 0, (uint64_t)column_number);
}

static void normal_columns(uint64_t seed) {
    for (int k = 0; k < COLUMNS; k++) {
        Rng r = stream(seed, k);
        for (int i = 0; i < N; i++) column[k][i] = (float)rng_normal(&r);
    }
}

static double measure(const float *x, int given, const float *z, int n, uint64_t seed) {
    double t;
    Error e;
    if (!codec_measure(y, x, given, z, n, seed, &t, &e)) fail_msg("%s", e.text);
    return t;
}

static void independent_is_zero_function_is_one(void **state) {
    (void)state;
    double mean = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        normal_columns(seed);
        for (int i = 0; i < N; i++) y[i] = (double)column[0][i];
        double t = measure(NULL, 0, column[1], N, seed);
        assert_true(fabs(t) < 5 / sqrt(N));
        mean += t / 20;
        assert_true(fabs(measure(column[1], 1, column[2], N, seed)) < 6 / sqrt(N));
        for (int i = 0; i < N; i++) y[i] = cos(3 * (double)column[0][i]); /* not monotonic, nor one to one */
        assert_true(measure(NULL, 0, column[0], N, seed) > 0.95);
        assert_true(measure(column[1], 1, column[0], N, seed) > 0.6);
    }
    assert_true(fabs(mean) < 3 / sqrt(20. * N));
}

/* ---- the definition, written down plainly ---- */

static int rank_up(int i, int n) {
    int count = 0;
    for (int j = 0; j < n; j++) count += y[j] <= y[i];
    return count;
}

static int rank_down(int i, int n) {
    int count = 0;
    for (int j = 0; j < n; j++) count += y[j] >= y[i];
    return count;
}

static double scale_of(const float *x, int n) {
    double mean = 0, square = 0;
    for (int i = 0; i < n; i++) mean += (double)x[i] / n;
    for (int i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    return square;
}

static double apart(const float *x, int columns, int n, int i, int j) {
    double sum = 0;
    for (int k = 0; k < columns; k++) {
        double d = (double)x[k * n + i] - (double)x[k * n + j];
        sum += d * d / scale_of(x + (size_t)k * (size_t)n, n);
    }
    return sum;
}

/* min(R_i, R_j), expected over the nearest j. */
static double expected_rank(const float *x, int columns, int n, int i) {
    double best = INFINITY, sum = 0;
    int ties = 0;
    for (int j = 0; j < n; j++)
        if (j != i) best = fmin(best, apart(x, columns, n, i, j));
    for (int j = 0; j < n; j++) {
        if (j == i || apart(x, columns, n, i, j) > best * (1 + 1e-9)) continue;
        sum += fmin(rank_up(i, n), rank_up(j, n));
        ties++;
    }
    return sum / ties;
}

/* T(Y, last of `columns` | those before), expected over the draws among ties. */
static double plain_t(const float *x, int columns, int n) {
    double above = 0, below = 0;
    for (int i = 0; i < n; i++) {
        const double with = expected_rank(x, columns, n, i), l = rank_down(i, n);
        const double without = columns > 1 ? expected_rank(x, columns - 1, n, i) : l * l / n;
        above += columns > 1 ? with - without : n * with - l * l;
        below += columns > 1 ? rank_up(i, n) - without : l * (n - l);
    }
    return above / below;
}

static void values_without_ties(void **state) {
    (void)state;
    enum { FEW = 60 };
    float x[4 * FEW];
    for (uint64_t seed = 0; seed < 5; seed++) {
        Rng r = stream(seed, 0);
        for (int k = 0; k < 4 * FEW; k++) x[k] = (float)rng_normal(&r);
        for (int i = 0; i < FEW; i++) y[i] = (double)(x[i] * x[i + FEW]) + 0.3 * rng_normal(&r);
        for (int given = 0; given < 4; given++)
            assert_float_equal(measure(x, given, x + given * FEW, FEW, seed), plain_t(x, given + 1, FEW),
                               1e-12);
    }
}

/* Ties in Y, in X and in Z: the mean over seeds is what the draws are expected to give. For one column and
 * for two; for more the expectation of a quotient is no longer the quotient. */
static void values_with_ties(void **state) {
    (void)state;
    enum { FEW = 40, SEEDS = 4000 };
    float x[FEW];
    double mean = 0;
    Rng r = stream(1, 0);
    for (int i = 0; i < FEW; i++) x[i] = (float)rng_below(&r, 7) / 2;
    for (int i = 0; i < FEW; i++) y[i] = floor((double)x[i] + 2 * rng_uniform(&r));
    x[0] = 9; /* one alone at the end, and */
    x[1] = 5; /* one alone between a run of the same distance on either side */
    x[2] = x[3] = 4.5F;
    x[4] = x[5] = x[6] = 5.5F;
    for (uint64_t seed = 0; seed < SEEDS; seed++) mean += measure(NULL, 0, x, FEW, seed) / SEEDS;
    assert_float_equal(mean, plain_t(x, 1, FEW), 0.01);
    /* what repeats X, in any unit, is worth exactly nothing, ties or none */
    float again[FEW];
    for (int i = 0; i < FEW; i++) again[i] = 4 * x[i];
    for (uint64_t seed = 0; seed < 20; seed++) assert_true(measure(x, 1, again, FEW, seed) == 0);
}

static void joint_ties_are_drawn(void **state) {
    (void)state;
    enum { FEW = 40 };
    float x[2 * FEW];
    bool moved = false;
    Rng r = stream(2, 0);
    for (int i = 0; i < 2 * FEW; i++) x[i] = (float)rng_below(&r, 3);
    for (int i = 0; i < FEW; i++) y[i] = floor((double)(x[i] * x[i + FEW]) + 2 * rng_uniform(&r));
    const double one = measure(x, 1, x + FEW, FEW, 1);
    for (uint64_t seed = 2; seed < 20; seed++) moved = moved || measure(x, 1, x + FEW, FEW, seed) != one;
    assert_true(moved);
    assert_true(measure(x, 1, x + FEW, FEW, 1) == one);
}

/* An exclusive or: alone neither column tells anything, together they tell all. */
static void exclusive_or_shows_given_the_other(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        normal_columns(seed);
        for (int i = 0; i < N; i++) y[i] = (column[0][i] > 0) != (column[1][i] > 0);
        assert_true(fabs(measure(NULL, 0, column[0], N, seed)) < 0.15);
        assert_true(fabs(measure(NULL, 0, column[1], N, seed)) < 0.15);
        assert_true(measure(column[0], 1, column[1], N, seed) > 0.7);
    }
}

static void no_meaning_is_zero(void **state) {
    (void)state;
    normal_columns(3);
    memset(column[1], 0, sizeof column[1]);
    for (int i = 0; i < N; i++) y[i] = 4;
    assert_true(measure(NULL, 0, column[0], N, 1) == 0);
    assert_true(measure(column[2], 1, column[0], N, 1) == 0);
    for (int i = 0; i < N; i++) y[i] = (double)column[0][i];
    assert_true(measure(NULL, 0, column[1], N, 1) == 0);
    assert_true(measure(column[0], 1, column[1], N, 1) == 0);
    assert_true(measure(column[1], 1, column[0], N, 1) == measure(NULL, 0, column[0], N, 1));
    for (int i = 0; i < N; i++) y[i] = column[0][i] = (float)(i % 5);
    assert_true(measure(column[0], 1, column[2], N, 1) == 0); /* Y is a function of X already */
}

static void refusals(void **state) {
    (void)state;
    Error e;
    double t;
    CodecChoice choice[COLUMNS];
    CodecSettings set = {0};
    int chosen = 7;
    normal_columns(1);
    memset(y, 0, sizeof y);
    assert_false(codec_measure(y, NULL, 0, column[0], 2, 1, &t, &e));
    assert_int_equal(e.code, ERROR_VALUE);
    assert_false(codec_measure(y, NULL, 0, column[0], CODEC_MOST + 1, 1, &t, &e));
    column[3][17] = NAN;
    assert_false(codec_select(y, column[0], COLUMNS, N, &set, choice, &chosen, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    assert_int_equal(chosen, 0);
    assert_non_null(strstr(e.text, "column 3 is not finite at observation 17"));
    assert_false(codec_measure(y, column[2], 2, column[0], N, 1, &t, &e));
    y[5] = INFINITY;
    assert_false(codec_measure(y, NULL, 0, column[0], N, 1, &t, &e));
    assert_non_null(strstr(e.text, "observation 5"));
}

/* ---- selection ---- */

static int choose(const CodecSettings *set, int count, CodecChoice *choice) {
    int chosen;
    Error e;
    if (!codec_select(y, column[0], count, N, set, choice, &chosen, &e)) fail_msg("%s", e.text);
    return chosen;
}

/* The columns chosen, as bits. */
static uint64_t chosen_set(const CodecSettings *set, int count) {
    CodecChoice choice[COLUMNS];
    uint64_t bits = 0;
    const int chosen = choose(set, count, choice);
    for (int k = 0; k < chosen; k++) {
        assert_true(choice[k].t > set->least && choice[k].t <= 1);
        assert_false(bits >> choice[k].column & 1);
        bits |= (uint64_t)1 << choice[k].column;
    }
    return bits;
}

static void swap_columns(int a, int b) {
    for (int i = 0; i < N; i++) {
        float t = column[a][i];
        column[a][i] = column[b][i];
        column[b][i] = t;
    }
}

enum { SEEDS = 3, FEW = 5 }; /* FEW: columns where all are tried as the first */

static void blanket_of_a_function(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        CodecSettings set = {.seed = seed};
        normal_columns(seed);
        Rng r = stream(seed, COLUMNS);
        for (int i = 0; i < N; i++) y[i] = (double)(column[0][i] * column[1][i] + column[0][i]);
        assert_int_equal(chosen_set(&set, COLUMNS), 3);
        for (int i = 0; i < N; i++)
            y[i] = (double)column[0][i] + pow((double)column[1][i], 2) + 0.1 * rng_normal(&r);
        assert_int_equal(chosen_set(&set, COLUMNS), 3);
        swap_columns(0, 5);
        swap_columns(1, 9);
        assert_int_equal(chosen_set(&set, COLUMNS), 1 << 5 | 1 << 9);
    }
}

/* A noisy child tells more than either cause alone and is chosen first; given both it is worth nothing. A
 * copy in another unit is worth nothing beside one column; beside two it changes the metric, which may be
 * worth a little: that is what `least` is for. */
static void redundant_is_left_out(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        CodecSettings paper = {.seed = seed},
                      set = {.seed = seed, .starts = FEW, .prune = true, .least = 0.1};
        CodecChoice choice[COLUMNS];
        normal_columns(seed);
        Rng r = stream(seed, COLUMNS);
        for (int i = 0; i < N; i++) {
            y[i] = (double)(column[0][i] + column[1][i]);
            column[2][i] = (float)(y[i] + 0.3 * rng_normal(&r));
        }
        assert_true(choose(&paper, FEW, choice) > 0 && choice[0].column == 2);
        assert_int_equal(chosen_set(&set, FEW), 3);
        for (int i = 0; i < N; i++) column[2][i] = 3 * column[0][i] - 1;
        const uint64_t found = chosen_set(&set, FEW);
        assert_true(found == 3 || found == 6); /* 2 tells what 0 tells */
        for (int i = 0; i < N; i++) {          /* with ties, as activations have behind a ReLU */
            for (int k = 0; k < FEW; k++) column[k][i] = fmaxf(column[k][i], 0);
            y[i] = (double)(column[0][i] + column[1][i]);
        }
        const uint64_t behind = chosen_set(&set, FEW);
        assert_true(behind == 3 || behind == 6);
    }
}

static void blanket_of_an_exclusive_or(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        CodecSettings set = {.seed = seed, .starts = FEW, .prune = true, .least = 0.1};
        normal_columns(seed);
        Rng r = stream(seed, COLUMNS);
        for (int i = 0; i < N; i++) y[i] = ((column[2][i] > 0) != (column[4][i] > 0)) + 0.1 * rng_normal(&r);
        assert_int_equal(chosen_set(&set, FEW), 1 << 2 | 1 << 4);
        for (int i = 0; i < N; i++) { /* of two levels each: nothing but ties */
            column[2][i] = column[2][i] > 0;
            column[4][i] = column[4][i] > 0;
            y[i] = column[2][i] != column[4][i];
        }
        assert_int_equal(chosen_set(&set, FEW), 1 << 2 | 1 << 4);
    }
}

static void nothing_to_choose(void **state) {
    (void)state;
    CodecSettings set = {.seed = 1, .least = 0.2};
    normal_columns(1);
    Rng r = stream(1, COLUMNS);
    for (int i = 0; i < N; i++) y[i] = rng_normal(&r);
    assert_int_equal(chosen_set(&set, COLUMNS), 0);
    set.starts = 6;
    set.prune = true;
    assert_int_equal(chosen_set(&set, COLUMNS), 0);
    set = (CodecSettings){.seed = 1};
    memset(column, 0, sizeof column);
    assert_int_equal(chosen_set(&set, COLUMNS), 0);
    assert_int_equal(chosen_set(&set, 0), 0);
}

static void limits(void **state) {
    (void)state;
    CodecSettings set = {.seed = 2, .most = 1};
    CodecChoice choice[COLUMNS];
    normal_columns(2);
    for (int i = 0; i < N; i++) y[i] = (double)(column[0][i] * column[1][i] + column[0][i]);
    assert_int_equal(chosen_set(&set, COLUMNS), 1);
    /* random subsets: whatever they hold, the same seed gives the same */
    set = (CodecSettings){.seed = 3, .subset = 12};
    const uint64_t first = chosen_set(&set, COLUMNS);
    assert_int_equal(chosen_set(&set, COLUMNS), first);
    bool other = false;
    for (set.seed = 4; set.seed < 20; set.seed++) other = other || chosen_set(&set, COLUMNS) != first;
    assert_true(other);
    set = (CodecSettings){.seed = 2};
    assert_int_equal(choose(&set, COLUMNS, choice), 2);
    assert_true(choice[0].t == measure(NULL, 0, column[0], N, 2));
    assert_true(choice[1].t == measure(column[0], 1, column[1], N, 2));
}

static void threads_do_not_matter(void **state) {
    (void)state;
    const int threads = omp_get_max_threads();
    CodecSettings set = {.seed = 5, .starts = 3, .prune = true};
    CodecChoice one[COLUMNS], many[COLUMNS];
    normal_columns(5);
    for (int k = 0; k < COLUMNS; k++)
        for (int i = 0; i < N; i++) column[k][i] = fmaxf(column[k][i], 0);
    for (int i = 0; i < N; i++) y[i] = (double)(column[0][i] * column[1][i] + column[2][i]);
    omp_set_num_threads(1);
    const int chosen = choose(&set, COLUMNS, one);
    omp_set_num_threads(5);
    assert_int_equal(choose(&set, COLUMNS, many), chosen);
    omp_set_num_threads(threads);
    assert_true(chosen > 0);
    for (int k = 0; k < chosen; k++) assert_true(one[k].column == many[k].column && one[k].t == many[k].t);
}

static void memory_runs_out(void **state) {
    (void)state;
    CodecSettings set = {.seed = 5, .starts = 2, .prune = true};
    CodecChoice choice[COLUMNS];
    Error e;
    double t;
    int chosen, failures = 0;
    normal_columns(5);
    for (int i = 0; i < 50; i++) y[i] = (double)column[0][i];
    const uint64_t live = mem_stat().live;
    for (bool ok = false; !ok; failures += !ok) {
        mem_fail_after(failures);
        ok = codec_select(y, column[0], 4, 50, &set, choice, &chosen, &e);
        mem_fail_after(-1);
        assert_true(ok || e.code == ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
    }
    assert_true(failures >= 8);
    failures = 0;
    for (bool ok = false; !ok; failures += !ok) {
        mem_fail_after(failures);
        ok = codec_measure(y, column[0], 1, column[1], 50, 1, &t, &e);
        mem_fail_after(-1);
        assert_int_equal(mem_stat().live, live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(independent_is_zero_function_is_one),
        cmocka_unit_test(values_without_ties),
        cmocka_unit_test(values_with_ties),
        cmocka_unit_test(joint_ties_are_drawn),
        cmocka_unit_test(exclusive_or_shows_given_the_other),
        cmocka_unit_test(no_meaning_is_zero),
        cmocka_unit_test(refusals),
        cmocka_unit_test(blanket_of_a_function),
        cmocka_unit_test(redundant_is_left_out),
        cmocka_unit_test(blanket_of_an_exclusive_or),
        cmocka_unit_test(nothing_to_choose),
        cmocka_unit_test(limits),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
