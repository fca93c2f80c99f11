// What the threads of one block do together. Every order of summation is fixed, so results repeat bit by bit.
#pragma once
#include "plane.cuh"

__device__ inline int clamped(int value, int least, int most) { return min(max(value, least), most); }

__device__ inline bool within(int value, int least, int most) { return value >= least && value <= most; }

__device__ inline int number_of_thread() { return threadIdx.y * blockDim.x + threadIdx.x; }

// Replace values by their sums over all threads. Called by all THREADS of a block.
//
// Every thread reads `parts`, and none writes it again before all have come to the first barrier of the next call.
template <int COUNT>
__device__ void sum_block(double (&values)[COUNT]) {
    __shared__ double sums[COUNT][THREADS], parts[COUNT][PARTS];
    const int thread = number_of_thread();
    for (int n = 0; n < COUNT; n++) sums[n][thread] = values[n];
    __syncthreads();
    for (int n = thread; n < COUNT * PARTS; n += THREADS) {
        double total = 0.0;
        for (int k = n % PARTS; k < THREADS; k += PARTS) total += sums[n / PARTS][k];
        parts[n / PARTS][n % PARTS] = total;
    }
    __syncthreads();
    for (int n = 0; n < COUNT; n++) {
        values[n] = 0.0;
        for (int k = 0; k < PARTS; k++) values[n] += parts[n][k];
    }
}

__device__ inline void keep_larger(float &value, int &place, float other, int there) {
    if (other > value || (other == value && there < place)) {
        value = other;
        place = there;
    }
}

// Replace value and place by those of the largest value; of equals, by the first place. Called by all THREADS.
__device__ inline void find_largest(float &value, int &place) {
    __shared__ float values[THREADS], largest[PARTS];
    __shared__ int places[THREADS], first[PARTS];
    const int thread = number_of_thread();
    values[thread] = value;
    places[thread] = place;
    __syncthreads();
    if (thread < PARTS) {
        for (int k = thread + PARTS; k < THREADS; k += PARTS) keep_larger(value, place, values[k], places[k]);
        largest[thread] = value;
        first[thread] = place;
    }
    __syncthreads();
    for (int k = 0; k < PARTS; k++) keep_larger(value, place, largest[k], first[k]);
}

__device__ inline float2 times(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

__device__ inline float2 conjugate(float2 a) { return make_float2(a.x, -a.y); }

// One element of a complex matrix product: sum over k of left(row, k) * right(k, column), for k below `length`.
//
// Called by all threads of a TILE x TILE block; both matrices are functions, asked for elements inside `rows` x
// `columns` alone. The element is that of (blockIdx.y, threadIdx.y) and (blockIdx.x, threadIdx.x).
template <class Left, class Right>
__device__ float2 element_of_product(int rows, int length, int columns, Left left, Right right) {
    __shared__ float2 lefts[TILE][TILE], rights[TILE][TILE];
    const int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    const float2 nothing = make_float2(0.0f, 0.0f);
    float2 total = nothing;
    for (int first = 0; first < length; first += TILE) {
        const int across = first + threadIdx.x, down = first + threadIdx.y;
        lefts[threadIdx.y][threadIdx.x] = row < rows && across < length ? left(row, across) : nothing;
        rights[threadIdx.y][threadIdx.x] = down < length && column < columns ? right(down, column) : nothing;
        __syncthreads();
        for (int k = 0; k < TILE; k++) {
            const float2 part = times(lefts[threadIdx.y][k], rights[k][threadIdx.x]);
            total.x += part.x;
            total.y += part.y;
        }
        __syncthreads();
    }
    return total;
}
