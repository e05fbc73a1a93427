// Blocks come with the first tunnel in them, and stay.
#include "tep/bpf/seen_down.hpp"

#include <algorithm>

namespace dstm::tep::bpf {

void SeenDown::begin(Slot slot, const dstm_entry& entry, std::uint32_t now) {
    const auto number = slot / block_size;
    if (number >= blocks_.size()) blocks_.resize(number + 1);
    auto& block = blocks_[number];
    if (!block) block = std::make_unique<Block>();
    (*block)[slot % block_size] = renew({}, entry, now);
}

void SeenDown::look(Slot first, std::span<const dstm_entry> entries, std::uint32_t now) {
    while (!entries.empty() && first / block_size < blocks_.size()) {
        const auto at = first % block_size;
        const auto count = std::min<std::size_t>(entries.size(), block_size - at);
        if (auto* block = blocks_[first / block_size].get()) {
            for (std::size_t i = 0; i < count; ++i) {
                auto& sighting = (*block)[at + i];
                sighting = renew(sighting, entries[i], now);
            }
        }
        entries = entries.subspan(count);
        first += static_cast<Slot>(count);
    }
}

}  // namespace dstm::tep::bpf
