// See the header.
#include "kea-hook/list_task.hpp"

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
    : Task("lease-list"),
      store_(store),
      position_(arguments.address("from").value_or(to_address(0, store.family()))),
      last_listed_(position_),
      limit_(static_cast<std::size_t>(arguments.number("limit", 1, limit_max).value_or(limit_max))),
      leases_(Element::createList()) {}

std::optional<Reply> ListTask::advance() {
    const auto page = store_.database().after(position_, portion);
    end_ = page.size() < portion;
    scanned_ += page.size();
    for (const auto& row : page) {
        position_ = row->addr_;
        if (is_prefix(*row) || !is_ours(*row) || !is_live(*row)) continue;
        more_ = leases_->size() == limit_ || size_ > answer_size_max;
        if (more_) return answer();
        const auto lease = store_.with_prefix(row);
        store_.note(lease);  // may have come from an HA partner, unnoticed
        const ElementPtr element = lease_to_element(lease);
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
        map->set("next", Element::create((more_ ? last_listed_ : position_).toText()));
    }
    return {0, std::to_string(count) + " leases", map};
}

}  // namespace dstm::kea
