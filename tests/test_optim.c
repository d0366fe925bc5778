/* Optimizers against torch (tests/golden/README.md, ops_torch), the weight average, and parameter
 * initialisation. */
#include "core/optim.h"
#include "tests/golden.h"

static SafeFile *fixture(void) {
    Error e = {0};
    SafeFile *f;
    if (!safe_open(&f, "tests/golden/ops_torch.safetensors", &e)) fail_msg("%s", e.text);
    return f;
}

/* One parameter, three given gradients, against the weights after each. */
static void three_steps(const SafeFile *f, const char *name, OptimSettings set, double lr) {
    char key[64];
    snprintf(key, sizeof key, "%s.p", name);
    Tensor start = golden_read(f, key);
    Params p = {0};
    Optim o;
    Error e = {0};
    Tensor *w = params_add(&p, "weight", start.ndim, start.dim, (Init){INIT_LATER, 0});
    params_of(w)->decay = true;
    if (!params_build(&p, 0, &e) || !params_train(&p, 1, &e) || !optim_open(&o, &set, &p, NULL, 0, &e))
        fail_msg("%s", e.text);
    memcpy(w->data, start.data, tensor_bytes(w));
    mem_free(start.data);
    for (int step = 1; step <= 3; step++) {
        snprintf(key, sizeof key, "%s.grad%d", name, step);
        Tensor g = golden_read(f, key);
        memcpy(w->grad->data, g.data, tensor_bytes(w));
        mem_free(g.data);
        optim_update(&o, lr, 1);
        snprintf(key, sizeof key, "%s.p%d", name, step);
        golden_near(f, key, w, 1e-6);
    }
    optim_close(&o);
    params_free(&p);
}

static void adamw(void **state) {
    (void)state;
    SafeFile *f = fixture();
    for (int k = 0; k < 2; k++) {
        char name[32], key[48];
        snprintf(name, sizeof name, "adamw.%d", k);
        snprintf(key, sizeof key, "%s.args", name);
        Tensor args = golden_read(f, key);
        const float *a = tensor_real(&args);
        const OptimSettings set = {.kind = OPTIM_ADAMW,
                                   .beta1 = (double)a[1],
                                   .beta2 = (double)a[2],
                                   .eps = (double)a[3],
                                   .weight_decay = (double)a[4]};
        three_steps(f, name, set, (double)a[0]);
        mem_free(args.data);
    }
    safe_close(f);
}

static void sgd(void **state) {
    (void)state;
    SafeFile *f = fixture();
    int done = 0;
    for (int k = 0; k < 3; k++) {
        char name[32], key[48];
        snprintf(name, sizeof name, "sgd.%d", k);
        snprintf(key, sizeof key, "%s.args", name);
        Tensor args = golden_read(f, key);
        const float *a = tensor_real(&args);
        const OptimSettings set = {.kind = OPTIM_SGD, .momentum = (double)a[1], .weight_decay = (double)a[2]};
        if (a[3] == 0) three_steps(f, name, set, (double)a[0]), done++; /* Nesterov's form is not offered */
        mem_free(args.data);
    }
    assert_int_equal(done, 2);
    safe_close(f);
}

static void average(void **state) {
    (void)state;
    const OptimSettings set = {.kind = OPTIM_SGD, .ema = 0.75};
    int64_t n = 5;
    Params p = {0};
    Optim o;
    Error e = {0};
    Tensor *w = params_add(&p, "w", 1, &n, (Init){INIT_VALUE, 1});
    if (!params_build(&p, 0, &e) || !params_train(&p, 1, &e) || !optim_open(&o, &set, &p, NULL, 0, &e))
        fail_msg("%s", e.text);
    double want = 1;
    for (int step = 0; step < 4; step++) {
        for (int i = 0; i < n; i++) tensor_real(w->grad)[i] = 1;
        optim_update(&o, 0.5, 1);
        optim_average(&o);
        want = 0.75 * want + 0.25 * (1 - 0.5 * (step + 1));
    }
    optim_swap_average(&o);
    assert_true(fabs((double)tensor_real(w)[3] - want) < 1e-6);
    optim_swap_average(&o);
    assert_true(fabs((double)tensor_real(w)[3] + 1) < 1e-6);
    optim_close(&o);
    params_free(&p);
}

/* Moments of what each kind draws; and that one parameter's draw does not hang on another's being there. */
static void initial_values(void **state) {
    (void)state;
    int64_t dim[2] = {300, 200};
    static const struct {
        Init init;
        double deviation;
    } kinds[] = {
        {{INIT_NORMAL, 0.02}, 0.02},
        {{INIT_TRUNC_NORMAL, 0.02}, 0.02},
        {{INIT_UNIFORM, 0.3}, 0.3 / 1.7320508},
        {{INIT_XAVIER, 0}, 0.0632456},
        {{INIT_KAIMING, 0}, 0.0816497},
    };
    for (int k = 0; k < COUNT(kinds); k++) {
        Params p = {0}, q = {0};
        Error e = {0};
        Tensor *a = params_add(&p, "a", 2, dim, kinds[k].init);
        params_add(&q, "before", 2, dim, kinds[k].init);
        Tensor *b = params_add(&q, "a", 2, dim, kinds[k].init);
        if (!params_build(&p, 9, &e) || !params_build(&q, 9, &e)) fail_msg("%s", e.text);
        assert_memory_equal(a->data, b->data, tensor_bytes(a));
        double sum = 0, squares = 0;
        int64_t n = tensor_count(a);
        for (int64_t i = 0; i < n; i++)
            sum += (double)tensor_real(a)[i], squares += pow((double)tensor_real(a)[i], 2);
        assert_true(fabs(sum / (double)n) < 0.02 * kinds[k].deviation);
        assert_true(fabs(sqrt(squares / (double)n) / kinds[k].deviation - 1) < 0.02);
        params_free(&p);
        params_free(&q);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw),
        cmocka_unit_test(sgd),
        cmocka_unit_test(average),
        cmocka_unit_test(initial_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
