// A CUDA driver for a machine without a GPU, for `run.sh --compile`: it has the limits of an H100, gives memory of the host, and loads
// modules, but its kernels do nothing. It refuses the launches that an H100 refuses. What a program asked of it is written to standard
// error when the program ends. (cubecl measures the rate of a device by kernels that take ever longer. Here they never do, and it panics
// on a thread of its own, which harms nothing.)
//
//   cc -shared -fPIC -I $CUDA_PATH/include -o libcuda.so.1 stand_in.c
//
// Limits of the device: CUDA C++ Programming Guide, "Compute Capabilities", column 9.0.
#include <cuda.h>
#undef cuEventElapsedTime
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define API CUresult CUDAAPI
#define MEMORY (80ull << 30)
#define SHARED_MEMORY 232448
#define MOST_IN_X 2147483647
#define MOST_IN_Y_OR_Z 65535

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t used, most_used;
static unsigned long modules, launches, refused;

__attribute__((destructor)) static void report(void) {
    if (modules)
        fprintf(stderr, "stand-in: %lu modules, %lu launches, %lu refused, at most %.2f GB\n", modules, launches, refused, 1e-9 * most_used);
}

static CUresult refuse(const char *what, const char *name) {
    refused++;
    fprintf(stderr, "stand-in: refused %s %s\n", what, name);
    return CUDA_ERROR_INVALID_VALUE;
}

// The device.

API cuInit(unsigned flags) { return CUDA_SUCCESS; }
API cuDriverGetVersion(int *version) { *version = CUDA_VERSION; return CUDA_SUCCESS; }
API cuDeviceGetCount(int *count) { *count = 1; return CUDA_SUCCESS; }
API cuDeviceGet(CUdevice *device, int ordinal) { *device = 0; return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
API cuDeviceGetName(char *name, int size, CUdevice device) { snprintf(name, size, "stand-in for an H100"); return CUDA_SUCCESS; }
API cuDeviceGetPCIBusId(char *id, int size, CUdevice device) { snprintf(id, size, "0000:00:00.0"); return CUDA_SUCCESS; }
API cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) { *bytes = MEMORY; return CUDA_SUCCESS; }
API cuMemGetInfo_v2(size_t *left, size_t *total) { *total = MEMORY; *left = MEMORY - used; return CUDA_SUCCESS; }

API cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = MOST_IN_X; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: *value = MOST_IN_Y_OR_Z; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = MOST_IN_Y_OR_Z; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 49152; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = SHARED_MEMORY; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 233472; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
    default: *value = 0;
    }
    return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) { *context = (CUcontext)1; return CUDA_SUCCESS; }
API cuDevicePrimaryCtxRelease_v2(CUdevice device) { return CUDA_SUCCESS; }
API cuCtxSetCurrent(CUcontext context) { return CUDA_SUCCESS; }
API cuCtxGetCurrent(CUcontext *context) { *context = (CUcontext)1; return CUDA_SUCCESS; }
API cuCtxSynchronize(void) { return CUDA_SUCCESS; }
API cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return CUDA_SUCCESS; }
API cuGetErrorName(CUresult error, const char **text) { *text = "CUDA_ERROR"; return CUDA_SUCCESS; }
API cuGetErrorString(CUresult error, const char **text) { *text = "refused by the stand-in"; return CUDA_SUCCESS; }
// NVRTC asks for it.
API cuGetExportTable(const void **table, const CUuuid *id) { *table = 0; return CUDA_ERROR_NOT_FOUND; }

// Streams and events: everything is done when it is asked for.

API cuStreamCreate(CUstream *stream, unsigned flags) { *stream = malloc(1); return CUDA_SUCCESS; }
API cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) { return cuStreamCreate(stream, flags); }
API cuStreamDestroy_v2(CUstream stream) { free(stream); return CUDA_SUCCESS; }
API cuStreamSynchronize(CUstream stream) { return CUDA_SUCCESS; }
API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) { return CUDA_SUCCESS; }
API cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) { *status = CU_STREAM_CAPTURE_STATUS_NONE; return CUDA_SUCCESS; }
API cuEventCreate(CUevent *event, unsigned flags) { *event = calloc(1, sizeof(struct timespec)); return CUDA_SUCCESS; }
API cuEventDestroy_v2(CUevent event) { free(event); return CUDA_SUCCESS; }
API cuEventRecord(CUevent event, CUstream stream) { clock_gettime(CLOCK_MONOTONIC, (struct timespec *)event); return CUDA_SUCCESS; }
API cuEventSynchronize(CUevent event) { return CUDA_SUCCESS; }
API cuEventQuery(CUevent event) { return CUDA_SUCCESS; }

API cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    struct timespec *a = (void *)from, *b = (void *)to;
    *milliseconds = 1e3 * (b->tv_sec - a->tv_sec) + 1e-6 * (b->tv_nsec - a->tv_nsec);
    return CUDA_SUCCESS;
}
API cuEventElapsedTime_v2(float *milliseconds, CUevent from, CUevent to) { return cuEventElapsedTime(milliseconds, from, to); }

// Memory. Pages that nothing is copied to take no memory of the host. The page before each block holds its size.

#define PAGE 4096

static CUresult allocate(CUdeviceptr *at, size_t size) {
    pthread_mutex_lock(&lock);
    CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
    if (size && size <= MEMORY - used) {
        char *page = mmap(0, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (page != MAP_FAILED) {
            *(size_t *)page = size;
            *at = (CUdeviceptr)(page + PAGE);
            used += size;
            if (used > most_used) most_used = used;
            result = CUDA_SUCCESS;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static CUresult release(CUdeviceptr at) {
    char *page = (char *)at - PAGE;
    pthread_mutex_lock(&lock);
    size_t size = *(size_t *)page;
    used -= size;
    munmap(page, size + PAGE);
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

API cuMemAlloc_v2(CUdeviceptr *at, size_t size) { return allocate(at, size); }
API cuMemAllocAsync(CUdeviceptr *at, size_t size, CUstream stream) { return allocate(at, size); }
API cuMemFree_v2(CUdeviceptr at) { return release(at); }
API cuMemFreeAsync(CUdeviceptr at, CUstream stream) { return release(at); }
API cuMemAllocHost_v2(void **at, size_t size) { *at = malloc(size); return *at ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY; }
API cuMemHostAlloc(void **at, size_t size, unsigned flags) { return cuMemAllocHost_v2(at, size); }
API cuMemFreeHost(void *at) { free(at); return CUDA_SUCCESS; }
API cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) { memcpy((void *)to, from, size); return CUDA_SUCCESS; }
API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) { return cuMemcpyHtoD_v2(to, from, size); }
API cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) { memcpy(to, (void *)from, size); return CUDA_SUCCESS; }
API cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) { return cuMemcpyDtoH_v2(to, from, size); }
// What lies on the device is of no use, so copies within it may be left out.
API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) { return CUDA_SUCCESS; }
API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) { return CUDA_SUCCESS; }
API cuMemsetD8_v2(CUdeviceptr at, unsigned char value, size_t size) { return CUDA_SUCCESS; }
API cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t size, CUstream stream) { return CUDA_SUCCESS; }

API cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream) {
    const char *from = copy->srcMemoryType == CU_MEMORYTYPE_DEVICE ? (const char *)copy->srcDevice : copy->srcHost;
    char *to = copy->dstMemoryType == CU_MEMORYTYPE_DEVICE ? (char *)copy->dstDevice : copy->dstHost;
    for (size_t row = 0; row < copy->Height; row++)
        memcpy(to + row * copy->dstPitch, from + row * copy->srcPitch, copy->WidthInBytes);
    return CUDA_SUCCESS;
}

// Modules and launches.

struct function { int shared; char name[256]; };

API cuModuleLoadData(CUmodule *module, const void *ptx) { modules++; *module = (CUmodule)strdup(ptx); return CUDA_SUCCESS; }
API cuModuleUnload(CUmodule module) { free(module); return CUDA_SUCCESS; }

API cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    char entry[300];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    if (!strstr((char *)module, entry)) return CUDA_ERROR_NOT_FOUND;
    struct function *made = calloc(1, sizeof *made);
    snprintf(made->name, sizeof made->name, "%s", name);
    *function = (CUfunction)made;
    return CUDA_SUCCESS;
}

API cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    struct function *of = (struct function *)function;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS;
    if (value > SHARED_MEMORY) return refuse("the shared memory of", of->name);
    of->shared = value;
    return CUDA_SUCCESS;
}

API cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned x, unsigned y, unsigned z,
                   unsigned shared, CUstream stream, void **parameters, void **extra) {
    struct function *of = (struct function *)function;
    unsigned long threads = (unsigned long)x * y * z;
    launches++;
    if (!grid_x || !grid_y || !grid_z || grid_x > MOST_IN_X || grid_y > MOST_IN_Y_OR_Z || grid_z > MOST_IN_Y_OR_Z)
        return refuse("the number of blocks of", of->name);
    if (!threads || threads > 1024 || z > 64) return refuse("the number of threads of", of->name);
    if (shared > (unsigned)of->shared) return refuse("the shared memory of", of->name);
    return CUDA_SUCCESS;
}

// Descriptors of tensors, as the reference of the driver's interface bounds them.
static CUresult describe(CUtensorMap *made, unsigned rank, void *at, const cuuint64_t *sizes, const cuuint64_t *strides,
                         const cuuint32_t *box, const cuuint32_t *steps) {
    memset(made, 0, sizeof *made);
    int wrong = rank < 1 || rank > 5 || (uintptr_t)at % 16;
    for (unsigned i = 0; i < rank && !wrong; i++) {
        wrong |= !sizes[i] || sizes[i] > 1ull << 32 || !steps[i] || steps[i] > 8;
        wrong |= box && (!box[i] || box[i] > 256);
        wrong |= i + 1 < rank && (strides[i] % 16 || strides[i] >= 1ull << 40);
    }
    return wrong ? refuse("the descriptor of", "a tensor") : CUDA_SUCCESS;
}

API cuTensorMapEncodeTiled(CUtensorMap *made, CUtensorMapDataType type, cuuint32_t rank, void *at, const cuuint64_t *sizes,
                           const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps, CUtensorMapInterleave interleave,
                           CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
    return describe(made, rank, at, sizes, strides, box, steps);
}

API cuTensorMapEncodeIm2col(CUtensorMap *made, CUtensorMapDataType type, cuuint32_t rank, void *at, const cuuint64_t *sizes,
                            const cuuint64_t *strides, const int *lower, const int *upper, cuuint32_t channels, cuuint32_t pixels,
                            const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                            CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
    return describe(made, rank, at, sizes, strides, 0, steps);
}
