/* vae: the small variational autoencoder by which LAF knows a set of representations (Shen et al. 2024,
 * "Label-agnostic forgetting"; the autoencoder is Kingma and Welling 2014). One learns what
 * remains, one what shall go; how badly an embedding is rebuilt says how little it belongs.
 *
 *   x = (e - low) / (high - low), axis by axis, low and high from the fitting data
 *   x [d] -> wide -> narrow -> (mu, log s^2) [latent each] -> z -> narrow -> wide -> y [d]
 *
 * ReLU between, a sigmoid at the end; z = mu + s N(0, 1) while fitting, z = mu in use.
 *
 *   loss = (1 / B) sum_batch (|y - x|^2 + kl KL(N(mu, s^2) || N(0, 1)))
 *   miss = |y - x|^2, with z = mu
 *
 * All in double. What is drawn is keyed by seed, epoch and row, and each sum has one order: the same data,
 * settings and seed give the same bits, whatever the number of threads. */
#ifndef LETHE_VAE_H
#define LETHE_VAE_H

#include "core/base.h"

enum { VAE_STAGES = 8, VAE_LAYERS = 6, VAE_MOST = 1 << 16 }; /* VAE_MOST: the widest */

typedef struct VaeSettings {
    int wide, narrow, latent;
    double kl; /* weight of the divergence */
    double lr; /* of Adam (0.9, 0.999, 1e-8), the same all through */
    int epochs, batch;
    uint64_t seed;
} VaeSettings;

extern const VaeSettings
    vae_standard; /* LAF's 128, 32, 16, 0.025; lr 1e-3, 50 epochs of batches of 128 are ours */

typedef struct VaeLayer {
    int in, out;
    int64_t weight, bias; /* where [in][out] and [out] begin in the slab */
} VaeLayer;

typedef struct Vae {
    VaeSettings set;
    int d, width[VAE_STAGES]; /* x, wide, narrow, (mu, log s^2), z, narrow, wide, y */
    VaeLayer layer[VAE_LAYERS];
    int64_t count; /* parameters */
    double *value; /* [count] */
    double *low,
        *size; /* [d] of x = (e - low) size; size is 0 on an axis that did not move, which is left out */
} Vae;

/* Scratch for batches of up to `rows`. */
typedef struct VaeWork {
    int rows;
    double *slab, *noise;                       /* noise[rows][latent] */
    double *at[VAE_STAGES], *slope[VAE_STAGES]; /* [rows][width] each */
} VaeWork;

/* A network of drawn weights for embeddings of d axes, with x = e. Fails for widths outside 1 .. VAE_MOST and
 * settings that mean nothing (ERROR_VALUE), and without memory. */
bool vae_open(Vae *v, int d, const VaeSettings *set, Error *e);
void vae_close(Vae *v);

/* Takes low and high from e[n][d], then fits. *loss (NULL: not wanted) is the mean loss of the last epoch, or
 * 0 without one. Fails for n < 1, for what is not finite in e or in the loss (ERROR_NUMERIC), and without
 * memory; the weights are then undefined. */
bool vae_fit(Vae *v, const float *e, int64_t n, double *loss, Error *error);

bool vae_work_open(VaeWork *w, const Vae *v, int rows, Error *e);
void vae_work_close(VaeWork *w);

/* miss[rows] of e[rows][d], rows <= w->rows, and where gradient is not NULL d miss / d e [rows][d] of each:
 * through y and through x itself. Calls no allocator. */
void vae_miss(const Vae *v, VaeWork *w, const float *e, int rows, double *miss, float *gradient);

/* The loss of rows e[row[0 .. rows - 1]][d] (row NULL: the first) with the noise of an epoch, and its
 * gradient [count] where not NULL: for vae_fit, and for tests. */
double vae_loss(const Vae *v, VaeWork *w, const float *e, const int64_t *row, int rows, uint32_t epoch,
                double *gradient);

#endif
