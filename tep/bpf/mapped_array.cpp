// mmap and munmap, and nothing else.
#include "tep/bpf/mapped_array.hpp"

#include <cerrno>
#include <utility>

#include <sys/mman.h>

namespace dstm::tep::bpf {

Result<MappedMemory> MappedMemory::map(int descriptor, std::size_t size) {
    void* const start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (start == MAP_FAILED) {
        return tl::unexpected(error_from_errno(errno, "mapping a BPF array into memory"));
    }
    return MappedMemory(start, size);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : start_(std::exchange(other.start_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
    std::swap(start_, other.start_);
    std::swap(size_, other.size_);
    return *this;
}

MappedMemory::~MappedMemory() {
    if (start_ != nullptr) munmap(start_, size_);
}

}  // namespace dstm::tep::bpf
