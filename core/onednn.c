#include "core/onednn.h"

#ifndef LETHE_DOUBLE

static _Thread_local dnnl_engine_t engine;
static _Thread_local dnnl_stream_t stream;

void onednn_check(dnnl_status_t status, const char *call) {
    if (status != dnnl_success) die("oneDNN: %s: status %d", call, (int)status);
}

static void open(void) {
    if (engine) return;
    ONEDNN(dnnl_engine_create(&engine, dnnl_cpu, 0));
    ONEDNN(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
}

dnnl_engine_t onednn_engine(void) {
    open();
    return engine;
}

dnnl_stream_t onednn_stream(void) {
    open();
    return stream;
}

dnnl_data_type_t onednn_type(DType d) {
    return d == DT_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_memory_t onednn_memory(const dnnl_memory_desc_t *d) {
    dnnl_memory_t m;
    ONEDNN(dnnl_memory_create(&m, d, onednn_engine(), DNNL_MEMORY_NONE));
    return m;
}

#endif
