// A worker in CUDA C++: y = a x + y on a GPU, in every timing mode. Compile and check it with
//
//     nvcc -std=c++17 -O3 -arch=native example_worker.cu -o example_worker
//     assay worker-check ./example_worker
#include "assay_worker.hpp"

__global__ void saxpy(float a, const float* x, const float* y, float* out, std::size_t count) {
    const std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i < count) out[i] = a * x[i] + y[i];
}

struct Saxpy : assay::CudaWorkload {
    assay::DeviceBuffer<float> x, y, out;
    float a;

    explicit Saxpy(const assay::Case& c)
        : CudaWorkload(c), x(c.size("elements")), y(x.size()), out(x.size()), a(static_cast<float>(c.number("a"))) {
        x.fill(assay::Philox(c.seed, 0));  // inputs follow from the seed alone
        y.fill(assay::Philox(c.seed, 1));
        out.poison();
        inputs = {{"x", assay::digest(x.download())}, {"y", assay::digest(y.download())}};
        work = {12 * x.size(), 2 * x.size(), {}, "bytes = 3 n sizeof(float), flops = 2 n"};
        deterministic = true;
    }

    void launch(cudaStream_t stream) override {
        const auto blocks = static_cast<unsigned>((x.size() + 255) / 256);
        saxpy<<<blocks, 256, 0, stream>>>(a, x.data(), y.data(), out.data(), x.size());
    }

    assay::Verification verify() override {
        const auto hx = x.download(), hy = y.download(), found = out.download();
        const auto expected = [&](std::size_t i) { return double{a} * hx[i] + hy[i]; };
        const auto at = [&](std::size_t i) { return found[i]; };
        auto verification = assay::compare(found.size(), at, expected, std::abs(a) * 0x1p-23 + 0x1p-23);
        verification.output = assay::digest(found);
        return verification;
    }
};

int main() {
    assay::CudaWorker worker("example_worker.cu", "1");
    worker.add<Saxpy>(assay::Info("cuda-saxpy", "y = a x + y, one element a thread")
                          .integer("elements", 1 << 24).at_least(1)
                          .number("a", 2.5));
    return worker.serve();
}
