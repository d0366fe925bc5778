/* exact: include it last. From here on the compiler rounds every product and sum of floating-point numbers by
 * itself, without fused multiply-add, as the builds of Pillow do whose bytes we want to equal. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif
