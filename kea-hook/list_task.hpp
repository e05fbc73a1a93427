// lease-list: one page of the leases that are ours, looked for in small portions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kea-hook/arguments.hpp"
#include "kea-hook/lease_store.hpp"
#include "kea-hook/task.hpp"

namespace dstm::kea {

class ListTask : public Task {
public:
    // Takes what it needs from `arguments`; the caller looks for mistakes there.
    ListTask(LeaseStore& store, Arguments& arguments);

private:
    std::optional<Reply> advance() override;
    [[nodiscard]] Reply answer() const;

    LeaseStore& store_;
    IOAddress position_;  // looked at up to here
    IOAddress last_listed_;
    std::size_t limit_;
    std::size_t scanned_ = 0;
    std::size_t size_ = 0;  // of the leases as JSON
    bool end_ = false;
    bool more_ = false;  // one that did not fit was seen
    isc::data::ElementPtr leases_;
};

}  // namespace dstm::kea
