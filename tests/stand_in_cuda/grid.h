// A grid of CUDA's on the host: what a kernel's source needs to be compiled by an ordinary C++ compiler and run.
//
// The threads of a block take turns; at a barrier each waits until all have come. Blocks and threads run in an order
// that can be chosen, so that a result that depends on it shows. Knows nothing of any kernel.
#pragma once
#include <csetjmp>
#include <cmath>
#include <cstddef>
#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static  // one block runs at a time, and what it finds there is what another left

using std::abs;
using std::isfinite;
using std::max;
using std::min;

struct float2 {
    float x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }

struct dim3 {
    unsigned x, y, z;
    unsigned count() const { return x * y * z; }
    dim3 place(unsigned n) const { return {n % x, n / x % y, n / x / y}; }
};

static dim3 gridDim, blockDim, blockIdx, threadIdx;

class Grid {
  public:
    // Number of the order in which blocks and threads run: 0 is ascending, 1 descending, others are shuffled.
    unsigned order = 0;

    void run(dim3 grid, dim3 block, const std::function<void()> &kernel) {
        gridDim = grid;
        blockDim = block;
        kernel_ = &kernel;
        const std::vector<unsigned> blocks = in_order(grid.count());
        threads_ = in_order(block.count());
        while (fibers_.size() < block.count()) fibers_.emplace_back(new Fiber);
        for (unsigned n : blocks) {
            blockIdx = grid.place(n);
            run_block();
        }
    }

    void wait_at_barrier() {
        waiting_++;
        leave(*fibers_[now_]);
    }

  private:
    static constexpr size_t STACK = (1 << 16) + 17 * 64;  // no power of two: stacks would share lines of the cache
    struct Fiber {
        Fiber() : stack(STACK) {
            getcontext(&context);
            context.uc_stack.ss_sp = stack.data();
            context.uc_stack.ss_size = stack.size();
            context.uc_link = nullptr;
            makecontext(&context, reinterpret_cast<void (*)()>(&Grid::begin), 0);
        }
        std::vector<char> stack;
        ucontext_t context;
        jmp_buf where;
        dim3 thread;
        bool begun = false;
    };

    // A fiber takes one thread after another until one waits; then another fiber takes those that are left.
    void run_block() {
        next_ = waiting_ = 0;
        size_t used = 0;
        while (next_ < threads_.size()) enter(used++);
        while (waiting_) {
            if (waiting_ != threads_.size()) throw std::runtime_error("a barrier that a thread misses");
            waiting_ = 0;
            for (size_t n = 0; n < used; n++) enter(n);
        }
    }

    void work() {
        for (;;) {
            Fiber &fiber = *fibers_[now_];
            while (next_ < threads_.size()) {
                fiber.thread = threadIdx = blockDim.place(threads_[next_++]);
                (*kernel_)();
            }
            leave(fiber);
        }
    }

    static Grid *entering_;
    static void begin() { entering_->work(); }

    void enter(size_t number) {
        now_ = number;
        Fiber &fiber = *fibers_[number];
        threadIdx = fiber.thread;
        entering_ = this;
#ifdef __SANITIZE_ADDRESS__  // it does not know jumps from one stack to another
        swapcontext(&main_, &fiber.context);
#else
        if (_setjmp(back_)) return;
        if (fiber.begun) _longjmp(fiber.where, 1);
        fiber.begun = true;
        setcontext(&fiber.context);
#endif
    }

    void leave(Fiber &fiber) {
#ifdef __SANITIZE_ADDRESS__
        swapcontext(&fiber.context, &main_);
#else
        if (!_setjmp(fiber.where)) _longjmp(back_, 1);  // without the system calls of swapcontext
#endif
    }

    std::vector<unsigned> in_order(unsigned count) const {
        std::vector<unsigned> numbers(count);
        std::iota(numbers.begin(), numbers.end(), 0u);
        if (order == 1) std::reverse(numbers.begin(), numbers.end());
        if (order > 1) std::shuffle(numbers.begin(), numbers.end(), std::mt19937(order));
        return numbers;
    }

    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<unsigned> threads_;
    const std::function<void()> *kernel_ = nullptr;
    size_t next_ = 0, now_ = 0, waiting_ = 0;
    ucontext_t main_;
    jmp_buf back_;
};

inline Grid *Grid::entering_ = nullptr;
static Grid the_grid;
inline void __syncthreads() { the_grid.wait_at_barrier(); }
