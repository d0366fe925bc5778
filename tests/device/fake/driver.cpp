#include "tests/device/fake/inside.h"

#include <cuda.h>

#include <map>

#include <sys/mman.h>

namespace {

enum { GRANULE = 2 << 20 };

std::map<CUdeviceptr, size_t> mapped; /* what memory lies where */

bool whole(size_t size) {
    return size && size % GRANULE == 0;
}

} // namespace

extern "C" CUresult cuGetErrorName(CUresult status, const char **text) {
    *text = status == CUDA_SUCCESS               ? "CUDA_SUCCESS"
            : status == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
                                                 : "CUDA_ERROR_INVALID_VALUE";
    return CUDA_SUCCESS;
}

extern "C" CUresult cuGetErrorString(CUresult status, const char **text) {
    *text = status == CUDA_SUCCESS               ? "no error"
            : status == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory"
                                                 : "invalid argument";
    return CUDA_SUCCESS;
}

extern "C" CUresult cuMemGetAllocationGranularity(size_t *bytes, const CUmemAllocationProp *,
                                                  CUmemAllocationGranularity_flags) {
    *bytes = GRANULE;
    return CUDA_SUCCESS;
}

/* NORESERVE: a reservation may be larger than the machine's memory. */
extern "C" CUresult cuMemAddressReserve(CUdeviceptr *p, size_t size, size_t, CUdeviceptr,
                                        unsigned long long) {
    if (!whole(size)) return CUDA_ERROR_INVALID_VALUE;
    void *at = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    *p = (CUdeviceptr)at;
    return CUDA_SUCCESS;
}

extern "C" CUresult cuMemAddressFree(CUdeviceptr p, size_t size) {
    auto m = mapped.lower_bound(p);
    if (m != mapped.end() && m->first < p + size) return CUDA_ERROR_INVALID_VALUE;
    return munmap((void *)p, size) == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

extern "C" CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
                                const CUmemAllocationProp *prop, unsigned long long) {
    if (!whole(size) || !prop || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
    if (!fake_memory_take((long long)size)) return CUDA_ERROR_OUT_OF_MEMORY;
    *handle = (CUmemGenericAllocationHandle) new size_t(size);
    return CUDA_SUCCESS;
}

/* A handle may go before its mapping does, and commonly does: the memory counts until it is unmapped. */
extern "C" CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
    size_t *size = (size_t *)handle;
    if (*size) fake_memory_take(-(long long)*size);
    delete size;
    return CUDA_SUCCESS;
}

extern "C" CUresult cuMemMap(CUdeviceptr p, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                             unsigned long long) {
    size_t *room = (size_t *)handle;
    if (!whole(size) || offset || size != *room || mapped.count(p)) return CUDA_ERROR_INVALID_VALUE;
    mapped[p] = size;
    *room = 0; /* the mapping owns it now */
    return CUDA_SUCCESS;
}

extern "C" CUresult cuMemUnmap(CUdeviceptr p, size_t size) {
    for (CUdeviceptr end = p + size; p < end;) {
        auto m = mapped.find(p);
        if (m == mapped.end() || p + m->second > end) return CUDA_ERROR_INVALID_VALUE;
        madvise((void *)p, m->second, MADV_DONTNEED);
        mprotect((void *)p, m->second, PROT_NONE);
        fake_memory_take(-(long long)m->second);
        p += m->second;
        mapped.erase(m);
    }
    return CUDA_SUCCESS;
}

extern "C" CUresult cuMemSetAccess(CUdeviceptr p, size_t size, const CUmemAccessDesc *access, size_t count) {
    if (!count || access->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) return CUDA_ERROR_INVALID_VALUE;
    for (CUdeviceptr at = p; at < p + size; at += mapped[at])
        if (!mapped.count(at)) return CUDA_ERROR_INVALID_VALUE;
    if (mprotect((void *)p, size, PROT_READ | PROT_WRITE) != 0) return CUDA_ERROR_INVALID_VALUE;
    memset((void *)p, 0xFF, size);
    return CUDA_SUCCESS;
}

/* ---- the way to them ---- */

extern "C" cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned,
                                                        unsigned long long,
                                                        cudaDriverEntryPointQueryResult *found) {
    static const struct {
        const char *name;
        void *function;
    } known[] = {
#define ROW(f) {#f, (void *)f},
        ROW(cuGetErrorName) ROW(cuGetErrorString) ROW(cuMemGetAllocationGranularity) ROW(cuMemAddressReserve)
            ROW(cuMemAddressFree) ROW(cuMemCreate) ROW(cuMemRelease) ROW(cuMemMap) ROW(cuMemUnmap)
                ROW(cuMemSetAccess)
#undef ROW
    };
    *function = nullptr;
    for (const auto &k : known)
        if (strcmp(k.name, symbol) == 0) *function = k.function;
    if (found) *found = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                               cudaDriverEntryPointQueryResult *found) {
    return cudaGetDriverEntryPointByVersion(symbol, function, 13000, flags, found);
}
