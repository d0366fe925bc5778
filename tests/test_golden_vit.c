/* The classifier, its losses, layer-wise decay, the probe, LARS, the schedule and position tables against
 * facebookresearch/mae and timm 0.3.2: tests/golden/README.md, vit_finetune. */
#include "core/optim.h"
#include "core/train.h"
#include "mim/classify.h"
#include "tests/golden.h"

static const char *const path = "tests/golden/vit_finetune.safetensors";

typedef struct Case {
    SafeFile *file;
    Recipe *recipe;
    Task task;
    Step *step;
    Tensor images, labels, soft;
    Batch batch;
} Case;

static void case_open(Case *c, const char *more) {
    Error e = {0};
    char text[400];
    *c = (Case){0};
    snprintf(text, sizeof text,
             "{\"model\":{\"image_size\":64,\"patch\":8,\"dim\":64,\"depth\":3,\"heads\":2,%s}}", more);
    if (!safe_open(&c->file, path, &e)) fail_msg("%s", e.text);
    if (!recipe_parse(&c->recipe, "test", text, strlen(text), NULL, 0, &e)) fail_msg("%s", e.text);
    if (!task_open(&c->task, &classify_class, c->recipe, 10, 0, &e)) fail_msg("%s", e.text);
    if (!params_train(&c->task.params, 1, &e)) fail_msg("%s", e.text);
    Backend backend = golden_backend();
    if (backend == BACKEND_CUDA) params_to_device(&c->task.params);
    if (!(c->step = step_create(DT_F32, backend, backend == BACKEND_CUDA ? (size_t)3 << 30 : 0, &e)))
        fail_msg("%s", e.text);
    for (int i = 0; i < c->task.params.count; i++) {
        Param *q = c->task.params.list[i];
        char name[128];
        snprintf(name, sizeof name, "weight.%s", strncmp(q->name, "head.1.", 7) ? q->name : q->name + 2);
        if (!strncmp(q->name, "head.1.", 7)) snprintf(name, sizeof name, "weight.head.%s", q->name + 7);
        const SafeEntry *x = safe_find(c->file, name);
        if (!x) {
            assert_true(q->buffer); /* running statistics start at 0 and 1 */
            continue;
        }
        if (!safe_fits(c->file, x, &q->tensor, &e) || !safe_read(c->file, x, &q->tensor, &e))
            fail_msg("%s", e.text);
    }
    c->images = golden_read(c->file, "images");
    c->labels = golden_read(c->file, "labels");
    c->soft = golden_read(c->file, "soft_targets");
    static const int64_t id[4] = {0, 1, 2, 3};
    c->batch = (Batch){.n = 4, .image = c->images, .label = tensor_i32(&c->labels), .id = id};
}

static void case_close(Case *c) {
    mem_free(c->images.data);
    mem_free(c->labels.data);
    mem_free(c->soft.data);
    step_free(c->step);
    task_close(&c->task);
    recipe_close(c->recipe);
    safe_close(c->file);
}

static void number_near(Case *c, const char *name, const Tensor *got) {
    golden_near(c->file, name, got, 1e-5);
}

/* Forward, both losses, and the gradients of one of them. */
static void model(Case *c, const char *prefix, bool soft_gradients) {
    char name[128];
    step_begin(c->step);
    Tensor *logits = classify_class.outputs(&c->task, c->step, &c->batch);
    snprintf(name, sizeof name, "%s.logits", prefix);
    golden_near(c->file, name, logits, 1e-5);
    Tensor *labels = step_input(c->step, &c->labels), *soft = step_input(c->step, &c->soft);
    Tensor *smooth_loss = op_xent(c->step, logits, labels, NULL, 0.1, NULL);
    Tensor *soft_loss = op_xent(c->step, logits, NULL, soft, 0, NULL);
    snprintf(name, sizeof name, "%s.loss_smooth", prefix);
    number_near(c, name, smooth_loss);
    snprintf(name, sizeof name, "%s.loss_soft", prefix);
    number_near(c, name, soft_loss);
    params_zero_grad(&c->task.params);
    tape_backward(c->step, soft_gradients ? soft_loss : smooth_loss, 1);
    params_settle_grad(&c->task.params);
    for (int i = 0; i < c->task.params.count; i++) {
        Param *q = c->task.params.list[i];
        snprintf(name, sizeof name, "%s.grad.%s", prefix, q->name);
        golden_near(c->file, name, q->tensor.grad, 1e-4);
    }
}

static void pooled_and_one_step(void **state) {
    (void)state;
    Case c;
    char name[128];
    case_open(&c, "\"pool\":\"mean\"");
    model(&c, "pool", false);
    const OptimSettings set = {.kind = OPTIM_ADAMW,
                               .weight_decay = 0.05,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8,
                               .layer_decay = 0.65};
    Error e = {0};
    Optim o;
    if (!optim_open(&o, &set, &c.task.params, NULL, 0, &e)) fail_msg("%s", e.text);
    task_layer_decay(&c.task, set.layer_decay);
    for (int i = 0; i < c.task.params.count; i++) {
        Param *q = c.task.params.list[i];
        snprintf(name, sizeof name, "lrd.%s", q->name);
        float got[2] = {(float)q->lr_scale, q->decay ? 0.05f : 0};
        golden_near(c.file, name, &(Tensor){.data = got, .ndim = 1, .dim = {2}, .dtype = DT_F32}, 1e-6);
    }
    if (golden_optim()) optim_update(&o, golden_number(c.file, "pool.after_lr"), 1);
    for (int i = 0; i < c.task.params.count && golden_optim(); i++) {
        Param *q = c.task.params.list[i];
        snprintf(name, sizeof name, "pool.after.%s", q->name);
        if (!strstr(name, "qkv.bias"))
            golden_near(c.file, name, &q->tensor, 1e-5); /* its key third has no gradient */
    }
    optim_close(&o);
    case_close(&c);
}

static void class_token(void **state) {
    (void)state;
    Case c;
    case_open(&c, "\"pool\":\"cls\"");
    model(&c, "cls", true);
    case_close(&c);
}

static void probe(void **state) {
    (void)state;
    Case c;
    case_open(&c, "\"pool\":\"cls\",\"train\":\"probe\"");
    Params *p = &c.task.params;
    step_begin(c.step);
    golden_near(c.file, "probe.features", classify_class.features(&c.task, c.step, &c.batch), 1e-5);
    Tensor *logits = classify_class.outputs(&c.task, c.step, &c.batch);
    golden_near(c.file, "probe.logits", logits, 1e-5);
    Tensor *loss = op_xent(c.step, logits, step_input(c.step, &c.labels), NULL, 0, NULL);
    number_near(&c, "probe.loss", loss);
    params_zero_grad(p);
    tape_backward(c.step, loss, 1);
    Tensor *w = &params_find(p, "head.1.weight")->tensor, *b = &params_find(p, "head.1.bias")->tensor;
    golden_near(c.file, "probe.grad.head.weight", w->grad, 1e-4);
    golden_near(c.file, "probe.grad.head.bias", b->grad, 1e-4);
    golden_near(c.file, "probe.running_mean", &params_find(p, "head.0.running_mean")->tensor, 1e-5);
    golden_near(c.file, "probe.running_var", &params_find(p, "head.0.running_var")->tensor, 1e-5);
    const OptimSettings set = {.kind = OPTIM_LARS, .momentum = 0.9, .trust = 0.001};
    Error e = {0};
    Optim o;
    if (!optim_open(&o, &set, p, NULL, 0, &e)) fail_msg("%s", e.text);
    if (golden_optim()) {
        optim_update(&o, 0.3, 1);
        golden_near(c.file, "probe.after.head.weight", w, 1e-5);
        golden_near(c.file, "probe.after.head.bias", b, 1e-5);
    }
    c.step->training = false;
    step_begin(c.step);
    if (golden_optim())
        golden_near(c.file, "probe.logits_eval", classify_class.outputs(&c.task, c.step, &c.batch), 1e-5);
    optim_close(&o);
    case_close(&c);
}

static void lars(void **state) {
    (void)state;
    Error e = {0};
    SafeFile *f;
    if (!safe_open(&f, path, &e)) fail_msg("%s", e.text);
    static const char *const names[] = {"matrix", "bias", "zero", "still"};
    Params p = {0};
    char name[64];
    for (int i = 0; i < COUNT(names); i++) {
        snprintf(name, sizeof name, "lars.start.%s", names[i]);
        Tensor start = golden_read(f, name);
        params_add(&p, names[i], start.ndim, start.dim, (Init){INIT_LATER, 0});
        mem_free(start.data);
    }
    if (!params_build(&p, 0, &e) || !params_train(&p, 1, &e)) fail_msg("%s", e.text);
    const OptimSettings set = {.kind = OPTIM_LARS, .momentum = 0.9, .trust = 0.001, .weight_decay = 0.01};
    Optim o;
    if (!optim_open(&o, &set, &p, NULL, 0, &e)) fail_msg("%s", e.text);
    for (int step = 0; step <= 3; step++)
        for (int i = 0; i < p.count; i++) {
            snprintf(name, sizeof name, step ? "lars.grad%d.%s" : "lars.start%.0d.%s", step, names[i]);
            Tensor t = golden_read(f, name);
            memcpy(step ? p.list[i]->tensor.grad->data : p.list[i]->tensor.data, t.data, tensor_bytes(&t));
            mem_free(t.data);
            if (i + 1 < p.count || !step) continue;
            optim_update(&o, 0.5, 1);
            for (int j = 0; j < p.count; j++) {
                snprintf(name, sizeof name, "lars.after%d.%s", step, names[j]);
                golden_near(f, name, &p.list[j]->tensor, 1e-5);
            }
        }
    optim_close(&o);
    params_free(&p);
    safe_close(f);
}

static void schedule(void **state) {
    (void)state;
    Error e = {0};
    SafeFile *f;
    if (!safe_open(&f, path, &e)) fail_msg("%s", e.text);
    static const char *const names[] = {"schedule.pretrain", "schedule.finetune"};
    for (int k = 0; k < COUNT(names); k++) {
        char name[64];
        snprintf(name, sizeof name, "%s.args", names[k]);
        Tensor args = golden_read(f, name), rows = golden_read(f, names[k]);
        const float *a = tensor_real(&args);
        const ScheduleSettings set = {.warmup = (double)a[2], .min_lr = (double)a[1]};
        for (int64_t i = 0; i < rows.dim[0]; i++) {
            double got = schedule_lr(&set, (double)a[0], (double)tensor_real(&rows)[2 * i], (double)a[3]);
            double want = (double)tensor_real(&rows)[2 * i + 1];
            if (!(fabs(got - want) <= 1e-6 * (double)a[0]))
                fail_msg("%s row %d: %g, wanted %g", names[k], (int)i, got, want);
        }
        mem_free(args.data);
        mem_free(rows.data);
    }
    safe_close(f);
}

static void positions(void **state) {
    (void)state;
    Error e = {0};
    SafeFile *f;
    if (!safe_open(&f, path, &e)) fail_msg("%s", e.text);
    static const char *const sizes[] = {"4to6", "14to20", "14to9"};
    for (int i = 0; i < COUNT(sizes); i++) {
        char name[64];
        snprintf(name, sizeof name, "pos.%s.in", sizes[i]);
        Tensor in = golden_read(f, name);
        snprintf(name, sizeof name, "pos.%s.out", sizes[i]);
        Tensor out = golden_read(f, name);
        memset(out.data, 0, tensor_bytes(&out));
        vit_resize_positions(&in, &out);
        golden_near(f, name, &out, 1e-5);
        mem_free(in.data);
        mem_free(out.data);
    }
    for (int grid = 4; grid <= 14; grid += 10) {
        char name[64];
        snprintf(name, sizeof name, "pos.sincos%d", grid);
        Tensor t = golden_read(f, name);
        memset(t.data, 0, tensor_bytes(&t));
        vit_sincos(&t, grid);
        golden_near(f, name, &t, 1e-7);
        mem_free(t.data);
    }
    safe_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooled_and_one_step),
        cmocka_unit_test(class_token),
        cmocka_unit_test(probe),
        cmocka_unit_test(lars),
        cmocka_unit_test(schedule),
        cmocka_unit_test(positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
