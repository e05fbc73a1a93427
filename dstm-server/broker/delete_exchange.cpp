// A delete, step by step. See delete_exchange.hpp.
#include "dstm-server/broker/delete_exchange.hpp"

#include <utility>

namespace dstm::server {
namespace {
using tsp::Status;
}  // namespace

DeleteExchange::DeleteExchange(Ledger& ledger, Lease binding, std::string reason, Answer answer)
    : ledger_(ledger),
      binding_(std::move(binding)),
      reason_(std::move(reason)),
      answer_(std::move(answer)) {}

void DeleteExchange::start() {
    const std::string& endpoint = binding_.context.endpoint;
    if (ledger_.endpoints.find(endpoint) == nullptr) {
        release();  // the sync at its return takes it off
        return;
    }
    ledger_.endpoints.remove(endpoint, binding_.address, binding_.context.generation,
                             [weak = weak_from_this()](const Result<void>& result) {
                                 if (const auto self = weak.lock()) self->on_removed(result);
                             });
}

void DeleteExchange::on_removed(const Result<void>& result) {
    const bool is_away = ledger_.endpoints.find(binding_.context.endpoint) == nullptr;
    if (result || is_away) {
        release();
        return;
    }
    // It may be off or on; the sync that follows a failure puts it on again.
    finish({Status::too_busy, {}, "The tunnel endpoint does not answer, try again later", {}});
}

void DeleteExchange::release() {
    ledger_.leases_of(binding_).release(
        binding_, [weak = weak_from_this()](const Result<void>& result) {
            if (const auto self = weak.lock()) self->on_released(result);
        });
}

void DeleteExchange::on_released(const Result<void>& result) {
    const ClientId& id = binding_.client_id;
    LeaseDesk& leases = ledger_.leases_of(binding_);
    if (result || result.error().code == ErrorCode::not_found) {
        leases.settle(id, binding_.context.generation);
        ledger_.end_active(id, reason_, Ledger::AtEndpoint::is_removed);
        finish({Status::success, {}, {}, {}});
        return;
    }
    if (result.error().code == ErrorCode::conflict) {
        // Renewed by another server: the list tells, and the sync puts back what belongs there.
        leases.doubt();
        ledger_.endpoints.mark(binding_.context.endpoint);
        finish({Status::too_busy, {}, "The binding has just changed, try again", {}});
        return;
    }
    ledger_.end_active(id, reason_, Ledger::AtEndpoint::is_removed);
    leases.owe(id, binding_.context.generation);
    finish({Status::too_busy,
            {},
            "The tunnel is down, its lease is given back when the lease server answers",
            {}});
}

void DeleteExchange::finish(tsp::TunnelAnswered answer) {
    const Answer told = std::exchange(answer_, nullptr);
    ledger_.retire(binding_.client_id);
    if (told) told(std::move(answer));
}

}  // namespace dstm::server
