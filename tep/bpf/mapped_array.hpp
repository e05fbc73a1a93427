// A mmap-able BPF array as memory of this process: read and written without system calls.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>

#include "common/base/result.hpp"

namespace dstm::tep::bpf {

class MappedMemory {
public:
    MappedMemory() = default;
    // `descriptor` is that of a map with BPF_F_MMAPABLE; it may be closed afterwards.
    [[nodiscard]] static Result<MappedMemory> map(int descriptor, std::size_t size);
    MappedMemory(MappedMemory&& other) noexcept;
    MappedMemory& operator=(MappedMemory&& other) noexcept;
    ~MappedMemory();

    [[nodiscard]] void* start() const { return start_; }

private:
    MappedMemory(void* start, std::size_t size) : start_(start), size_(size) {}

    void* start_ = nullptr;
    std::size_t size_ = 0;
};

// A field that programs read while it is written here.
template <class Number>
void publish(Number& field, Number value) {
    std::atomic_ref(field).store(value, std::memory_order_release);
}

// Element has a size that is a multiple of 8, as the kernel lays out array values.
template <class Element>
class MappedArray {
    static_assert(sizeof(Element) % 8 == 0);

public:
    MappedArray() = default;
    [[nodiscard]] static Result<MappedArray> map(int descriptor, std::size_t count) {
        auto memory = MappedMemory::map(descriptor, count * sizeof(Element));
        if (!memory) return tl::unexpected(memory.error());
        MappedArray array;
        array.memory_ = std::move(*memory);
        array.count_ = count;
        return array;
    }

    [[nodiscard]] std::span<Element> elements() const {
        return {static_cast<Element*>(memory_.start()), count_};
    }

private:
    MappedMemory memory_;
    std::size_t count_ = 0;
};

}  // namespace dstm::tep::bpf
