/* The types of the driver's functions, under the names of NVIDIA's header. */
#ifndef LETHE_FAKE_CUDATYPEDEFS_H
#define LETHE_FAKE_CUDATYPEDEFS_H

#include <cuda.h>

#define FAKE_TYPE(name)                                                                                      \
    typedef decltype(&name) PFN_##name;                                                                      \
    typedef decltype(&name) PFN_##name##_v10020;
FAKE_TYPE(cuMemGetAllocationGranularity)
FAKE_TYPE(cuMemAddressReserve)
FAKE_TYPE(cuMemAddressFree)
FAKE_TYPE(cuMemCreate)
FAKE_TYPE(cuMemRelease)
FAKE_TYPE(cuMemMap)
FAKE_TYPE(cuMemUnmap)
FAKE_TYPE(cuMemSetAccess)
#undef FAKE_TYPE

#endif
