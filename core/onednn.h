/* onednn: the engine and stream that gemm and conv give their work to, each thread its own. */
#ifndef LETHE_ONEDNN_H
#define LETHE_ONEDNN_H

#ifndef LETHE_DOUBLE
#include "core/tensor.h"

#include <dnnl.h>

/* Opened at the first use. */
dnnl_engine_t onednn_engine(void);
dnnl_stream_t onednn_stream(void);

dnnl_data_type_t onednn_type(DType d); /* f32 or bf16 */

/* A description's memory; its data come with each call. */
dnnl_memory_t onednn_memory(const dnnl_memory_desc_t *d);

/* A call that fails is ours: shapes and types were checked before. */
void onednn_check(dnnl_status_t status, const char *call);
#define ONEDNN(call) onednn_check(call, #call)

#endif
#endif
