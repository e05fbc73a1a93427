// Reading the audit log backwards in mind, forwards in code.
#include "dstm-server/admin/who_had.hpp"

#include <algorithm>

#include "dstm-server/admin/audit_record.hpp"

namespace dstm::server {

WallTime Holding::until() const {
    if (end) return end->time;
    return changes.empty() ? start.expires_at : changes.back().expires_at;
}

const AuditRecord& Holding::as_of(WallTime time) const {
    const AuditRecord* valid = &start;
    for (const AuditRecord& change : changes) {
        if (change.time <= time) valid = &change;
    }
    return *valid;
}

bool WhoHad::concerns(const AuditRecord& record) const {
    if (record.inner == address_) return true;
    const auto* const address = std::get_if<Ipv6Address>(&address_);
    return address != nullptr && record.prefix && record.prefix->contains(*address);
}

void WhoHad::read_line(std::string_view line) {
    if (line.empty()) return;
    auto record = decode_audit(line);
    if (!record) {
        ++damaged_;
        return;
    }
    const bool is_open = !holdings_.empty() && !holdings_.back().end;
    if (!concerns(*record)) {
        // The same binding may go on with another prefix.
        const bool is_its = is_open && holdings_.back().start.inner == record->inner;
        if (!is_its) return;
        holdings_.back().end = *std::move(record);
        if (holdings_.back().end->event == AuditRecord::Event::changed) {
            holdings_.back().end->reason = "the prefix was exchanged";
        }
        return;
    }
    switch (record->event) {
        case AuditRecord::Event::started:
            // The end before it was not seen: it ended at the latest now.
            if (is_open && holdings_.back().until() > record->time) {
                holdings_.back().end = *record;
                holdings_.back().end->reason = "the address was given anew";
            }
            holdings_.push_back({*std::move(record), {}, {}});
            break;
        case AuditRecord::Event::changed:
            if (is_open) holdings_.back().changes.push_back(*std::move(record));
            else holdings_.push_back({*std::move(record), {}, {}});
            break;
        case AuditRecord::Event::ended:
            if (is_open) holdings_.back().end = *std::move(record);
            break;
    }
}

const Holding* WhoHad::at(WallTime time) const {
    const auto found = std::find_if(holdings_.rbegin(), holdings_.rend(), [&](const auto& one) {
        return one.start.time <= time && time < one.until();
    });
    return found == holdings_.rend() ? nullptr : &*found;
}

const Holding* WhoHad::before(WallTime time) const {
    const auto found = std::find_if(holdings_.rbegin(), holdings_.rend(),
                                    [&](const auto& one) { return one.until() <= time; });
    return found == holdings_.rend() ? nullptr : &*found;
}

}  // namespace dstm::server
