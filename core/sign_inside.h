/* sign_inside: what core/sign.c and core/sign_pem.c tell each other. */
#ifndef LETHE_SIGN_INSIDE_H
#define LETHE_SIGN_INSIDE_H

#include "core/sign.h"

enum { SIGN_SEED = 32, SIGN_DER_PUBLIC = 44 };

/* A private key is 32 random bytes. */
bool sign_key_of(SignKey **out, const uint8_t seed[SIGN_SEED], Error *e);
bool sign_key_seed(const SignKey *k, uint8_t seed[SIGN_SEED], Error *e);

/* SubjectPublicKeyInfo. */
void sign_der_public(const SignPublic *p, uint8_t der[SIGN_DER_PUBLIC]);

#endif
