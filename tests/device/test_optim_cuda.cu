/* The optimizer on the GPU (core/optim.cu) against core/optim.c: five updates of each kind, clipped and
 * averaged, as one captured graph; the same shared out to two ranks; and what is not finite changes nothing.
 */
#include "core/cuda.h"
#include "core/rng.h"

extern "C" { /* what optim.c and params.c offer is for C alone */
#include "core/optim.h"
}
#include "core/optim_cuda.h"
#include "tests/device/expect.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

enum { UPDATES = 5, RANKS = 2 };
static const double LIMIT =
    3e-6; /* f32 after five updates, contracted by one compiler and not by the other */

typedef std::vector<float> Floats;

/* ---- a model and its gradients ---- */

typedef struct Shape {
    const char *name;
    int ndim;
    int64_t dim[3];
    bool frozen;
    double lr_scale;
} Shape;

/* More than a chunk, less than a run, an odd count, and a frozen one between them. */
static const Shape shapes[] = {
    {"a.weight", 2, {130, 141, 0}, false, 0.5}, {"a.bias", 1, {141, 0, 0}, false, 0.5},
    {"table", 2, {20, 9, 0}, true, 1},          {"b.weight", 3, {3, 5, 7}, false, 0.75},
    {"norm.weight", 1, {1, 0, 0}, false, 1},    {"c.weight", 2, {1, 8192, 0}, false, 1},
};

static void model_open(Params *p) {
    Error e;
    *p = {};
    for (const Shape &s : shapes) {
        Param *q = params_of(params_add(p, s.name, s.ndim, s.dim, {INIT_NORMAL, 0.5}));
        q->frozen = s.frozen;
        q->lr_scale = s.lr_scale;
    }
    EXPECT(params_build(p, 3, &e) && params_train(p, 32, &e));
}

/* Update 3 has a gradient that is small enough not to be clipped. Padding stays zero. */
static void gradient_draw(const Params *p, int update) {
    Rng r = rng_open(5, RNG_TEST, (uint32_t)update, 0);
    double size = update == 3 ? 0.001 : 0.1 * update;
    for (int i = 0; i < p->count; i++) {
        const Tensor *g = p->list[i]->tensor.grad;
        for (int64_t j = 0; g && j < tensor_count(g); j++) tensor_real(g)[j] = (float)(size * rng_normal(&r));
    }
}

static double rate_of(int update) {
    return 0.01 * update;
}

/* ---- device memory ---- */

template <class T> static T *device_copy(const T *from, size_t n) {
    T *p;
    CUDA(cudaMalloc(&p, n * sizeof *p));
    CUDA(cudaMemcpy(p, from, n * sizeof *p, cudaMemcpyHostToDevice));
    return p;
}

template <class T> static std::vector<T> fetch(const T *from, size_t n) {
    std::vector<T> to(n);
    CUDA(cudaStreamSynchronize(cuda.stream));
    CUDA(cudaMemcpy(to.data(), from, n * sizeof *from, cudaMemcpyDeviceToHost));
    return to;
}

typedef struct Slabs {
    OptimSlabs slab;
    float *grad;
    size_t n, moments;
} Slabs;

static Slabs slabs_open(const Params *p, size_t moments) {
    Slabs s = {};
    s.n = (size_t)p->trained;
    s.moments = moments;
    Floats zeros(moments);
    std::vector<bf16> halves(s.n);
    s.slab.grad = s.grad = device_copy(p->grad, s.n);
    s.slab.value = device_copy(p->value, s.n);
    s.slab.first = device_copy(zeros.data(), moments);
    s.slab.second = device_copy(zeros.data(), moments);
    s.slab.half = device_copy(halves.data(), s.n);
    s.slab.average = device_copy(p->value, s.n);
    return s;
}

static void slabs_close(Slabs *s) {
    void *const all[] = {s->grad,        s->slab.value, s->slab.first,
                         s->slab.second, s->slab.half,  s->slab.average};
    for (void *p : all) CUDA(cudaFree(p));
}

static void gradient_send(const Params *p, const Slabs *s) {
    CUDA(cudaMemcpyAsync(s->grad, p->grad, s->n * sizeof(float), cudaMemcpyHostToDevice, cuda.stream));
}

/* ---- what optim.c makes of it ---- */

typedef struct State {
    Floats value, first, second, average;
    double norm;
} State;

static std::vector<State> wanted(const OptimSettings *set) {
    std::vector<State> all;
    Params p;
    Optim o;
    Error e;
    model_open(&p);
    EXPECT(optim_open(&o, set, &p, NULL, 0, &e));
    for (int update = 1; update <= UPDATES; update++) {
        gradient_draw(&p, update);
        double norm = optim_norm(&o);
        optim_update(&o, rate_of(update), norm > set->clip ? set->clip / (norm + 1e-6) : 1);
        optim_average(&o);
        State s;
        s.norm = norm;
        s.value.assign(p.value, p.value + p.trained);
        s.first.assign(o.first, o.first + p.trained);
        if (o.second) s.second.assign(o.second, o.second + p.trained);
        s.average.assign(o.average, o.average + p.trained);
        all.push_back(s);
    }
    optim_close(&o);
    params_free(&p);
    return all;
}

/* No element may be off by more than LIMIT of what the slab's elements are like. */
static bool near(const Floats &is, const Floats &want) {
    double squares = 0, worst = 0;
    EXPECT(is.size() == want.size());
    for (size_t i = 0; i < is.size(); i++) {
        double far = fabs((double)is[i] - (double)want[i]);
        squares += (double)want[i] * (double)want[i];
        worst = far <= worst ? worst : far;
    }
    double size = sqrt(squares / (double)is.size());
    if (worst <= LIMIT * size) return true;
    fprintf(stderr, "off by %.3g at a size of %.3g\n", worst, size);
    return false;
}

static bool halves_follow(const std::vector<bf16> &half, const Floats &value, const Params *p) {
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad) continue;
        size_t at = (size_t)(tensor_real(t) - p->value);
        for (size_t j = at; j < at + (size_t)tensor_count(t); j++)
            if (half[j] != bf16_from_f32(value[j])) return false;
    }
    return true;
}

/* ---- one rank ---- */

static cudaGraphExec_t update_capture(const OptimCuda *o, const OptimSlabs *s, const float *loss) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeThreadLocal));
    optim_cuda_squares(o, s->grad);
    optim_cuda_judge(o, loss);
    optim_cuda_norms(o, s);
    optim_cuda_update(o, s);
    CUDA(cudaStreamEndCapture(cuda.stream, &graph));
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CUDA(cudaGraphDestroy(graph));
    return exec;
}

static void state_check(const Slabs *s, const State &want, const Params *p, const OptimVerdict *verdict) {
    OptimVerdict v = fetch(verdict, 1)[0];
    EXPECT(v.fine && fabs(v.norm / want.norm - 1) < 1e-12);
    Floats value = fetch(s->slab.value, s->n);
    EXPECT(near(value, want.value));
    EXPECT(near(fetch(s->slab.first, s->n), want.first));
    if (!want.second.empty()) EXPECT(near(fetch(s->slab.second, s->n), want.second));
    EXPECT(near(fetch(s->slab.average, s->n), want.average));
    EXPECT(halves_follow(fetch(s->slab.half, s->n), value, p));
}

/* A gradient, then a loss, that is not finite. */
static void nothing_changes(const OptimCuda *o, const Slabs *s, cudaGraphExec_t exec, float *loss) {
    Floats value = fetch(s->slab.value, s->n), first = fetch(s->slab.first, s->n);
    Floats second = fetch(s->slab.second, s->n), average = fetch(s->slab.average, s->n);
    std::vector<bf16> half = fetch(s->slab.half, s->n);
    const float bad[2] = {INFINITY, NAN}, fine = 1;
    for (int k = 0; k < 2; k++) {
        float *to = k == 0 ? s->grad + 7 : loss;
        float was = fetch(to, 1)[0];
        CUDA(cudaMemcpy(to, &bad[k], sizeof bad[k], cudaMemcpyHostToDevice));
        optim_cuda_step(o, UPDATES + 1, 0.1);
        CUDA(cudaGraphLaunch(exec, cuda.stream));
        EXPECT(!fetch(o->verdict, 1)[0].fine);
        CUDA(cudaMemcpy(to, k == 0 ? &was : &fine, sizeof fine, cudaMemcpyHostToDevice));
    }
    EXPECT(value == fetch(s->slab.value, s->n) && first == fetch(s->slab.first, s->n));
    EXPECT(second == fetch(s->slab.second, s->n) && average == fetch(s->slab.average, s->n));
    EXPECT(half == fetch(s->slab.half, s->n));
}

static void alone(const OptimSettings *set, const std::vector<State> &want) {
    Params p;
    OptimCuda o;
    float one = 1, *loss = device_copy(&one, 1);
    model_open(&p);
    Slabs s = slabs_open(&p, (size_t)p.trained);
    optim_cuda_open(&o, set, &p, NULL, 0);
    cudaGraphExec_t exec = update_capture(&o, &s.slab, loss);
    for (int update = 1; update <= UPDATES; update++) {
        gradient_draw(&p, update);
        gradient_send(&p, &s);
        optim_cuda_step(&o, update, rate_of(update));
        CUDA(cudaGraphLaunch(exec, cuda.stream));
        state_check(&s, want[(size_t)update - 1], &p, o.verdict);
    }
    nothing_changes(&o, &s, exec, loss);
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaFree(loss));
    optim_cuda_close(&o);
    slabs_close(&s);
    params_free(&p);
}

/* ---- two ranks ---- */

/* As ncclAllReduce: everyone has the sum. */
static void add_up(double *const part[RANKS], size_t n) {
    std::vector<double> a = fetch(part[0], n), b = fetch(part[1], n);
    for (size_t i = 0; i < n; i++) a[i] += b[i];
    for (int r = 0; r < RANKS; r++)
        CUDA(cudaMemcpy(part[r], a.data(), n * sizeof a[0], cudaMemcpyHostToDevice));
}

/* Everyone has the values that rank 0 does not update. */
static void collect(Slabs s[RANKS], const OptimPart *part, int parts) {
    for (int k = 0; k < parts; k++)
        for (int r = 0; r < RANKS; r++) {
            const OptimPart *x = &part[2 * k + r];
            CUDA(cudaMemcpyAsync(s[1 - r].slab.value + x->begin, s[r].slab.value + x->begin,
                                 (size_t)(x->end - x->begin) * sizeof(float), cudaMemcpyDeviceToDevice,
                                 cuda.stream));
        }
}

static void shared_update(const OptimCuda o[RANKS], const Slabs s[RANKS], int update) {
    double *const squares[RANKS] = {o[0].squares, o[1].squares}, *const norms[RANKS] = {o[0].norms,
                                                                                        o[1].norms};
    for (int r = 0; r < RANKS; r++) {
        optim_cuda_step(&o[r], update, rate_of(update));
        optim_cuda_squares(&o[r], s[r].grad);
    }
    add_up(squares, 1);
    OptimSlabs slab[RANKS] = {s[0].slab, s[1].slab};
    for (int r = 0; r < RANKS; r++) {
        slab[r].average = NULL;
        optim_cuda_judge(&o[r], NULL);
        optim_cuda_norms(&o[r], &slab[r]);
    }
    if (o[0].norms) add_up(norms, 2 * (size_t)o[0].spans);
    for (int r = 0; r < RANKS; r++) optim_cuda_update(&o[r], &slab[r]);
}

/* The slab is cut in buckets of which each rank has one half, wherever that cuts parameters. */
static void shared(const OptimSettings *set, const std::vector<State> &want) {
    Params p[RANKS];
    OptimCuda o[RANKS];
    Slabs s[RANKS];
    std::vector<OptimPart> part, own[RANKS];
    model_open(&p[0]);
    for (int64_t at = 0, step = 4992; at < p[0].trained; at += step) {
        int64_t n = p[0].trained - at < step ? p[0].trained - at : step;
        part.push_back({at, at + n / 2, (int64_t)part.size() / 2 * step / 2});
        part.push_back({at + n / 2, at + n, part.back().at});
        for (int r = 0; r < RANKS; r++) own[r].push_back(part[part.size() - 2 + (size_t)r]);
    }
    params_free(&p[0]);
    for (int r = 0; r < RANKS; r++) {
        model_open(&p[r]);
        s[r] = slabs_open(&p[r], (size_t)p[r].trained / 2 + 16);
        optim_cuda_open(&o[r], set, &p[r], own[r].data(), (int)own[r].size());
    }
    for (int update = 1; update <= UPDATES; update++) {
        for (int r = 0; r < RANKS; r++) {
            gradient_draw(&p[r], update);
            gradient_send(&p[r], &s[r]);
        }
        shared_update(o, s, update);
        collect(s, part.data(), (int)own[0].size());
        for (int r = 0; r < RANKS; r++) {
            optim_cuda_average(&o[r], &s[r].slab);
            EXPECT(near(fetch(s[r].slab.value, s[r].n), want[(size_t)update - 1].value));
            EXPECT(near(fetch(s[r].slab.average, s[r].n), want[(size_t)update - 1].average));
        }
    }
    for (int r = 0; r < RANKS; r++) {
        optim_cuda_close(&o[r]);
        slabs_close(&s[r]);
        params_free(&p[r]);
    }
}

int main() {
    char text[300];
    if (!device_open(0, true, text, sizeof text)) {
        printf("%s\n", text);
        return 1;
    }
    for (int kind = OPTIM_ADAMW; kind <= OPTIM_LARS; kind++) {
        OptimSettings set = {};
        set.kind = kind;
        set.weight_decay = 0.05;
        set.beta1 = 0.9;
        set.beta2 = 0.95;
        set.eps = 1e-8;
        set.momentum = 0.9;
        set.trust = 0.02;
        set.clip = 1;
        set.ema = 0.8;
        std::vector<State> want = wanted(&set);
        alone(&set, want);
        shared(&set, want);
    }
    puts("3 passed, 0 failed"); /* optimizers; what is wrong ends the program */
    return 0;
}
