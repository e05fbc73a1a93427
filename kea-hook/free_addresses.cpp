// The walk round a pool (see the header).
#include "kea-hook/free_addresses.hpp"

namespace dstm::kea {

std::optional<std::uint32_t> FreeAddresses::next(const AddressRange& range, Time now) {
    const auto [found, is_new] = pools_.try_emplace(range);
    Pool& pool = found->second;
    if (is_new) pool.cursor = range.first;
    if (pool.full_since.has_value()) {
        if (!pool.freed.empty()) {
            const std::uint32_t address = pool.freed.front();
            pool.freed.pop_front();
            return address;
        }
        if (now - *pool.full_since < full_trust_max) return std::nullopt;
        pool.full_since.reset();
        pool.looked_at = 0;
    }
    return walk(range, pool, now);
}

void FreeAddresses::taken(const AddressRange& range) {
    if (const auto found = pools_.find(range); found != pools_.end()) found->second.looked_at = 0;
}

void FreeAddresses::freed(std::uint32_t address) {
    for (auto& [range, pool] : pools_) {
        if (address < range.first || address > range.last) continue;
        pool.looked_at = 0;
        if (!pool.full_since.has_value()) continue;
        if (pool.freed.size() < freed_max) {
            pool.freed.push_back(address);
        } else {
            pool.full_since.reset();  // so many that walking finds one soon
            pool.freed.clear();
        }
    }
}

std::optional<std::uint32_t> FreeAddresses::walk(const AddressRange& range, Pool& pool, Time now) {
    const std::uint64_t size = std::uint64_t{range.last} - range.first + 1;
    std::size_t scanned = 0;
    while (pool.looked_at < size) {
        if (pool.cursor > range.last || pool.cursor >= pool.horizon) {
            if (scanned >= scan_max) return std::nullopt;
            turn_page(range, pool);
            scanned += pool.page.size();
        }
        const std::uint64_t here = pool.cursor++;
        ++pool.looked_at;
        auto& position = pool.page_position;
        while (position < pool.page.size() && pool.page[position] < here) ++position;
        const bool used = position < pool.page.size() && pool.page[position] == here;
        if (!used) return static_cast<std::uint32_t>(here);
    }
    pool.full_since = now;
    pool.freed.clear();
    return std::nullopt;
}

void FreeAddresses::turn_page(const AddressRange& range, Pool& pool) {
    if (pool.cursor > range.last) pool.cursor = range.first;
    pool.page = in_use_(static_cast<std::uint32_t>(pool.cursor), page_size);
    pool.page_position = 0;
    const std::uint64_t end = std::uint64_t{range.last} + 1;
    pool.horizon = pool.page.size() < page_size ? end : std::uint64_t{pool.page.back()} + 1;
}

}  // namespace dstm::kea
