// The walk round a pool (see the header).
#include "kea-hook/free_addresses.hpp"

namespace dstm::kea {

std::optional<Number> FreeAddresses::next(const AddressRange& range, Time now) {
    const auto [found, is_new] = pools_.try_emplace(range);
    Pool& pool = found->second;
    if (is_new) pool.cursor = range.first;
    if (pool.full_since.has_value()) {
        if (!pool.freed.empty()) {
            const Number address = pool.freed.front();
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

void FreeAddresses::freed(int kind, Number address) {
    for (auto& [range, pool] : pools_) {
        if (kind != range.kind || address < range.first || address > range.last) continue;
        if ((address - range.first) % range.step != 0) continue;
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

std::optional<Number> FreeAddresses::walk(const AddressRange& range, Pool& pool, Time now) {
    const Number size = (range.last - range.first) / range.step + 1;
    std::size_t scanned = 0;
    while (pool.looked_at < size) {
        if (pool.cursor > range.last || pool.cursor >= pool.horizon) {
            if (scanned >= scan_max) return std::nullopt;
            turn_page(range, pool);
            scanned += pool.page.size();
        }
        const Number here = pool.cursor;
        pool.cursor += range.step;
        ++pool.looked_at;
        auto& position = pool.page_position;
        while (position < pool.page.size() && pool.page[position] < here) ++position;
        const bool used = position < pool.page.size() && pool.page[position] == here;
        if (!used) return here;
    }
    pool.full_since = now;
    pool.freed.clear();
    return std::nullopt;
}

void FreeAddresses::turn_page(const AddressRange& range, Pool& pool) {
    if (pool.cursor > range.last) pool.cursor = range.first;
    pool.page = in_use_(range, pool.cursor, page_size);
    pool.page_position = 0;
    pool.horizon = (pool.page.size() < page_size ? range.last : pool.page.back()) + 1;
}

}  // namespace dstm::kea
