/* LAF's autoencoder: both gradients against differences, what it learns of data on a curved sheet, and that
 * the same seed gives the same bits. */
#include "core/rng.h"
#include "unlearn/vae.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { AXES = 12, ROWS = 600, FEW = 5 };

static const VaeSettings small = {
    .wide = 14, .narrow = 9, .latent = 3, .kl = 0.4, .lr = 2e-3, .epochs = 3, .batch = 32, .seed = 11};

static float sheet[ROWS][AXES], other[ROWS][AXES];

/* Points of a curved sheet of two dimensions, at the scale of embeddings, and points that have the same range
 * on each axis but fill the box. */
static void draw_data(void) {
    for (int s = 0; s < ROWS; s++) {
        Rng r = rng_open(5, RNG_TEST, 0, (uint64_t)s);
        const double a = rng_range(&r, -2, 2), b = rng_range(&r, -2, 2);
        for (int i = 0; i < AXES; i++) {
            sheet[s][i] = (float)(4 * sin(a * (1 + i % 3) / 2 + i) + 3 * b * cos(i) - 2);
            other[s][i] = (float)rng_range(&r, -9, 5);
        }
    }
}

static Vae open_vae(const VaeSettings *set) {
    Vae v;
    Error e;
    if (!vae_open(&v, AXES, set, &e)) fail_msg("%s", e.text);
    return v;
}

static VaeWork open_work(const Vae *v, int rows) {
    VaeWork w;
    Error e;
    if (!vae_work_open(&w, v, rows, &e)) fail_msg("%s", e.text);
    return w;
}

static void fit(Vae *v, double *loss) {
    Error e;
    if (!vae_fit(v, sheet[0], ROWS, loss, &e)) fail_msg("%s", e.text);
}

static void loss_gradient_is_the_difference(void **state) {
    (void)state;
    static const int64_t row[FEW] = {4, 0, 17, 200, 99};
    draw_data();
    Vae v = open_vae(&small);
    fit(&v, NULL); /* for the range, and to leave the start */
    VaeWork w = open_work(&v, FEW);
    double *gradient = malloc((size_t)v.count * sizeof *gradient), most = 0;
    assert_int_equal(v.count, 13 * 14 + 15 * 9 + 10 * 6 + 4 * 9 + 10 * 14 + 15 * 12);
    vae_loss(&v, &w, sheet[0], row, FEW, 2, gradient);
    for (int64_t i = 0; i < v.count; i++) most = fmax(most, fabs(gradient[i]));
    for (int64_t i = 0; i < v.count; i++) {
        const double at = v.value[i], step = 1e-5;
        v.value[i] = at + step;
        const double above = vae_loss(&v, &w, sheet[0], row, FEW, 2, NULL);
        v.value[i] = at - step;
        const double below = vae_loss(&v, &w, sheet[0], row, FEW, 2, NULL);
        v.value[i] = at;
        assert_float_equal(gradient[i], (above - below) / (2 * step), 1e-6 * most);
    }
    free(gradient);
    vae_work_close(&w);
    vae_close(&v);
}

/* e is float: the step is what it really moved. The miss is summed in double. */
static void miss_gradient_is_the_difference(void **state) {
    (void)state;
    draw_data();
    Vae v = open_vae(&small);
    fit(&v, NULL);
    VaeWork w = open_work(&v, FEW);
    float e[FEW][AXES], gradient[FEW][AXES];
    double miss[FEW], most = 0;
    memcpy(e[0], sheet[0], sizeof e[0]);
    memcpy(e[1], other[0], sizeof e[0] * 4); /* outside the range, too */
    e[1][3] = 30;
    vae_miss(&v, &w, e[0], FEW, miss, gradient[0]);
    for (int i = 0; i < FEW * AXES; i++) most = fmax(most, fabs((double)gradient[i / AXES][i % AXES]));
    for (int b = 0; b < FEW; b++)
        for (int i = 0; i < AXES; i++) {
            const float at = e[b][i];
            double above[FEW], below[FEW];
            const double up = (double)(e[b][i] = at + 1e-3F);
            vae_miss(&v, &w, e[0], FEW, above, NULL);
            const double down = (double)(e[b][i] = at - 1e-3F);
            vae_miss(&v, &w, e[0], FEW, below, NULL);
            e[b][i] = at;
            assert_float_equal(gradient[b][i], (above[b] - below[b]) / (up - down), 1e-4 * most);
            for (int k = 0; k < FEW; k++) assert_true(k == b || (above[k] == miss[k] && below[k] == miss[k]));
        }
    vae_work_close(&w);
    vae_close(&v);
}

static double mean_miss(const Vae *v, const float (*e)[AXES]) {
    double miss[ROWS], mean = 0;
    VaeWork w = open_work(v, ROWS);
    vae_miss(v, &w, e[0], ROWS, miss, NULL);
    for (int s = 0; s < ROWS; s++) mean += miss[s] / ROWS;
    vae_work_close(&w);
    return mean;
}

static void learns_the_sheet(void **state) {
    (void)state;
    VaeSettings set = vae_standard;
    double before, first, last;
    draw_data();
    set.epochs = 1;
    set.batch = 32;
    set.wide = 64;
    for (set.seed = 0; set.seed < 3; set.seed++) {
        Vae v = open_vae(&set);
        fit(&v, &first);
        before = mean_miss(&v, (const float(*)[AXES])sheet);
        v.set.epochs = 80;
        fit(&v, &last);
        const double own = mean_miss(&v, (const float(*)[AXES])sheet);
        const double foreign = mean_miss(&v, (const float(*)[AXES])other);
        assert_true(last < first / 3);
        assert_true(own < before / 4);
        assert_true(own < foreign / 5);
        vae_close(&v);
    }
}

/* Going down the gradient of the miss brings foreign points to the sheet: what LAF does to what remains. */
static void gradient_leads_to_the_sheet(void **state) {
    (void)state;
    VaeSettings set = small;
    float gradient[ROWS][AXES];
    double miss[ROWS];
    draw_data();
    set.epochs = 40;
    set.kl = 0.025;
    Vae v = open_vae(&set);
    fit(&v, NULL);
    const double before = mean_miss(&v, (const float(*)[AXES])other);
    VaeWork w = open_work(&v, ROWS);
    const uint64_t calls = mem_stat().calls;
    for (int step = 0; step < 30; step++) {
        vae_miss(&v, &w, other[0], ROWS, miss, gradient[0]);
        for (int i = 0; i < ROWS * AXES; i++) other[i / AXES][i % AXES] -= 10 * gradient[i / AXES][i % AXES];
    }
    assert_int_equal(mem_stat().calls, calls);
    assert_true(mean_miss(&v, (const float(*)[AXES])other) < before / 3);
    vae_work_close(&w);
    vae_close(&v);
}

static void same_seed_same_bits(void **state) {
    (void)state;
    const int threads = omp_get_max_threads();
    VaeSettings set = small;
    double loss[3];
    draw_data();
    Vae a = open_vae(&set), b = open_vae(&set);
    set.seed++;
    Vae c = open_vae(&set);
    omp_set_num_threads(1);
    fit(&a, &loss[0]);
    omp_set_num_threads(3);
    fit(&b, &loss[1]);
    omp_set_num_threads(threads);
    fit(&c, &loss[2]);
    assert_memory_equal(a.value, b.value, (size_t)a.count * sizeof *a.value);
    assert_true(loss[0] == loss[1] && loss[0] != loss[2]);
    vae_close(&a);
    vae_close(&b);
    vae_close(&c);
}

static void dead_axis_is_left_out(void **state) {
    (void)state;
    draw_data();
    for (int s = 0; s < ROWS; s++) sheet[s][2] = 7;
    Vae v = open_vae(&small);
    fit(&v, NULL);
    VaeWork w = open_work(&v, 1);
    float e[AXES], gradient[AXES];
    double one, two;
    memcpy(e, sheet[1], sizeof e);
    vae_miss(&v, &w, e, 1, &one, gradient);
    e[2] = -100;
    vae_miss(&v, &w, e, 1, &two, NULL);
    assert_true(one == two && gradient[2] == 0);
    vae_work_close(&w);
    vae_close(&v);
}

static void refusals(void **state) {
    (void)state;
    VaeSettings set = small;
    Vae v;
    VaeWork w;
    Error e;
    draw_data();
    assert_false(vae_open(&v, 0, &set, &e));
    assert_int_equal(e.code, ERROR_VALUE);
    set.latent = 0;
    assert_false(vae_open(&v, AXES, &set, &e));
    set = small;
    set.lr = NAN;
    assert_false(vae_open(&v, AXES, &set, &e));
    set = small;
    set.lr = 1e6;
    set.epochs = 100;
    v = open_vae(&set);
    assert_false(vae_work_open(&w, &v, 0, &e));
    assert_false(vae_fit(&v, sheet[0], 0, NULL, &e));
    assert_false(vae_fit(&v, sheet[0], ROWS, NULL, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    assert_non_null(strstr(e.text, "smaller lr"));
    sheet[8][1] = INFINITY;
    assert_false(vae_fit(&v, sheet[0], ROWS, NULL, &e));
    assert_non_null(strstr(e.text, "embedding 8 is not finite on axis 1"));
    vae_close(&v);
    draw_data();
    const uint64_t live = mem_stat().live;
    int failures = 0;
    for (bool ok = false; !ok; failures += !ok) {
        mem_fail_after(failures);
        ok = vae_open(&v, AXES, &small, &e);
        ok = ok && vae_fit(&v, sheet[0], ROWS, NULL, &e);
        mem_fail_after(-1);
        assert_true(ok || e.code == ERROR_MEMORY);
        vae_close(&v);
        assert_int_equal(mem_stat().live, live);
    }
    assert_int_equal(failures, 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_gradient_is_the_difference),
        cmocka_unit_test(miss_gradient_is_the_difference),
        cmocka_unit_test(learns_the_sheet),
        cmocka_unit_test(gradient_leads_to_the_sheet),
        cmocka_unit_test(same_seed_same_bits),
        cmocka_unit_test(dead_axis_is_left_out),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
