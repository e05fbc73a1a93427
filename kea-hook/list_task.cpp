// See the header.
#include "kea-hook/list_task.hpp"

#include "common/base/ip_address.hpp"
#include "kea-hook/json_line.hpp"

namespace dstm::kea {

using isc::data::Element;
using isc::data::ElementPtr;

namespace {

constexpr std::int64_t limit_max = 1000;
// Leases that one command looks at, ours or not, and that one step does.
constexpr std::size_t scan_max = 10000;
constexpr std::size_t portion = 50;

}  // namespace

ListTask::ListTask(LeaseStore& store, Arguments& arguments)
    : Task("dstm4-lease-list"),
      store_(store),
      position_(arguments.address("from").value_or(0)),
      last_listed_(position_),
      limit_(static_cast<std::size_t>(arguments.number("limit", 1, limit_max).value_or(limit_max))),
      leases_(Element::createList()) {}

std::optional<Reply> ListTask::advance() {
    const auto page = store_.after(position_, portion);
    end_ = page.size() < portion;
    scanned_ += page.size();
    for (const auto& lease : page) {
        position_ = lease->addr_.toUint32();
        if (!is_ours(*lease) || !is_live(*lease)) continue;
        more_ = leases_->size() == limit_ || size_ > answer_size_max;
        if (more_) return answer();
        store_.note(lease);  // may have come from an HA partner, unnoticed
        const ElementPtr element = lease_to_element(*lease);
        size_ += size_as_json(element);
        leases_->add(element);
        last_listed_ = position_;
    }
    if (end_ || scanned_ >= scan_max) return answer();
    return std::nullopt;
}

Reply ListTask::answer() const {
    const std::size_t count = leases_->size();
    if (count == 0 && end_) return to_reply({Reason::not_found, "no leases"});
    ElementPtr map = Element::createMap();
    map->set("leases", leases_);
    map->set("count", Element::create(static_cast<long long>(count)));
    if (more_ || !end_) {
        const Ipv4Address next(more_ ? last_listed_ : position_);
        map->set("next", Element::create(next.to_string()));
    }
    return {0, std::to_string(count) + " leases", map};
}

}  // namespace dstm::kea
