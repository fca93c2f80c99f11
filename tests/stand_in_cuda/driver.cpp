// The CUDA driver's library on the host, as far as deepbid_rt/runtimes/gpu/driver.py uses it, with our own kernels in
// the place of any program. Names and arguments are those of CUDA's cuda.h; what a stream is given is done at once.
#include "grid.h"

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "kernels.cu"

// Two kernels with a mistake each, so that a test can see that mistakes are found.

__global__ void reads_without_a_barrier(int *answers) {
    __shared__ int shared[64];
    shared[threadIdx.x] = threadIdx.x;
    answers[threadIdx.x] = shared[63 - threadIdx.x];
    shared[threadIdx.x] = -1;
}

__global__ void misses_a_barrier(int *answers) {
    if (threadIdx.x > 0) __syncthreads();
    answers[threadIdx.x] = 1;
}

namespace {

using Runs = void (*)(void **);

template <class Kernel>
struct Launcher;

// Takes arguments from where the driver finds them: copies, as a launch does.
template <class... Arguments>
struct Launcher<void (*)(Arguments...)> {
    template <size_t... N>
    static std::tuple<std::decay_t<Arguments>...> read(void **from, std::index_sequence<N...>) {
        return {*static_cast<std::decay_t<Arguments> *>(from[N])...};
    }
    template <void (*kernel)(Arguments...)>
    static void run(void **from) {
        std::apply(kernel, read(from, std::index_sequence_for<Arguments...>()));
    }
};

#define KERNEL(name) {#name, &Launcher<decltype(&name)>::run<&name>}
const std::map<std::string, Runs> kernels = {
    KERNEL(unpack),
    KERNEL(finish),
    KERNEL(average),
    KERNEL(transform_lines),
    KERNEL(transform_columns),
    KERNEL(correlate_columns),
    KERNEL(correlate_lines),
    KERNEL(judge),
    KERNEL(follow_reference),
    KERNEL(compare),
    KERNEL(smooth),
    KERNEL(measure_slopes),
    KERNEL(solve),
    KERNEL(recall),
    KERNEL(update),
    KERNEL(age),
    KERNEL(reads_without_a_barrier),
    KERNEL(misses_a_barrier),
};

enum Code { SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

std::mutex one_at_a_time;
int left = -1;
bool idle = false;

}  // namespace

extern "C" {

int cuModuleLoadData(void **module, const void *image) {
    static char loaded;
    const char *text = static_cast<const char *>(image);
    if (!std::strstr(text, ".version") || !std::strstr(text, ".entry")) return INVALID_IMAGE;
    *module = &loaded;
    return SUCCESS;
}

int cuModuleUnload(void *module) { return module ? SUCCESS : INVALID_VALUE; }

int cuModuleGetFunction(void **function, void *module, const char *name) {
    const auto found = kernels.find(name);
    if (!module || found == kernels.end()) return NOT_FOUND;
    *function = const_cast<Runs *>(&found->second);
    return SUCCESS;
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **arguments,
                   void **extra) {
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    const dim3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    if (!stream || !arguments || extra || shared_bytes) return INVALID_VALUE;
    if (!grid.count() || grid_y > 65535 || grid_z > 65535) return INVALID_VALUE;
    if (!block.count() || block.count() > 1024) return INVALID_VALUE;
    if (left == 0) return LAUNCH_FAILED;
    if (left > 0) left--;
    if (idle) return SUCCESS;
    try {
        the_grid.run(grid, block, [&] { (*static_cast<Runs *>(function))(arguments); });
    } catch (const std::runtime_error &) {
        return LAUNCH_FAILED;
    }
    return SUCCESS;
}

int cuGetErrorString(int code, const char **text) {
    *text = code == LAUNCH_FAILED ? "unspecified launch failure" : "a simulated error";
    return SUCCESS;
}

// For the tests alone: in which order threads run, after how many launches they fail (-1: never), and whether kernels
// cost nothing, as nothing is computed.
void stand_in_order(unsigned order) { the_grid.order = order; }
void stand_in_fail_after(int count) { left = count; }
void stand_in_idle(int yes) { idle = yes; }
}
