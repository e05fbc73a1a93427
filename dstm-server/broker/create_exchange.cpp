// A create, step by step. See create_exchange.hpp.
#include "dstm-server/broker/create_exchange.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/log/log.hpp"
#include "dstm-server/broker/reply.hpp"

namespace dstm::server {
namespace {

using tsp::Status;

const char* const no_endpoint = "No tunnel endpoint is available, try again later";

// A client waits while we try; a campus with more endpoints than this has other trouble.
constexpr std::size_t endpoints_tried_max = 3;

}  // namespace

CreateExchange::CreateExchange(Ledger& ledger, CreateTerms terms, Answer answer)
    : ledger_(ledger), terms_(std::move(terms)), answer_(std::move(answer)) {
    lease_.client_id = terms_.client_id;
    lease_.context = terms_.context;
    wish_.type = terms_.context.type;
    // RFC 5572 s4.5.2: data takes the mapping of the signalling, which ends at the relay.
    if (wish_.type == TunnelType::v6udpv4) wish_.only = terms_.relay;
}

std::function<void()> CreateExchange::then(void (CreateExchange::*handler)()) {
    return [weak = weak_from_this(), handler] {
        if (const auto self = weak.lock()) ((*self).*handler)();
    };
}

template <class T>
Done<T> CreateExchange::then(void (CreateExchange::*handler)(Result<T>)) {
    return [weak = weak_from_this(), handler](Result<T> result) {
        if (const auto self = weak.lock()) ((*self).*handler)(std::move(result));
    };
}

// --- forward -------------------------------------------------------------------------------------

void CreateExchange::start() {
    if (const Lease* active = ledger_.table.active(terms_.client_id)) {
        wish_.preferred = active->context.endpoint;
        wish_.address = active->address;
        wish_.prefix = active->prefix;
    }
    const EndpointInfo* endpoint = ledger_.choose_endpoint(wish_);
    if (endpoint == nullptr) {
        refusal_ = {Status::too_busy, {}, no_endpoint, {}};
        finish();
        return;
    }
    choose(*endpoint);
    leases().allocate(lease_request(), then(&CreateExchange::on_leased));
}

void CreateExchange::choose(const EndpointInfo& endpoint) {
    endpoint_ = endpoint;
    wish_.preferred = endpoint.name;
    lease_.context.endpoint = endpoint.name;
    lease_.context.generation = ledger_.next_generation();
    ledger_.table.reserve(terms_.client_id, lease_.context);
}

LeaseRequest CreateExchange::lease_request() {
    return LeaseRequest{.client_id = terms_.client_id,
                        .context = lease_.context,
                        .requested = wish_.address,
                        .prefix_length = terms_.prefix_length,
                        .valid_lifetime_s = ledger_.config().lifetime_s,
                        .subnet_id = leases().subnet_id(),
                        .hostname = terms_.hostname};
}

void CreateExchange::on_leased(Result<Lease> result) {
    const ClientId& id = terms_.client_id;
    if (!result) {
        log_warning("BROKER_LEASE_FAILED", "user={} error={}", log::quoted(terms_.context.user),
                    log::quoted(to_string(result.error())));
        refusal_ = answer_to(result.error());
        if (!may_have_happened(result.error())) {
            finish();
        } else if (previous() != nullptr) {
            go_back();  // Kea may hold the new context already
        } else {
            leases().owe(id, lease_.context.generation);
            finish();
        }
        return;
    }
    const BindingContext sent = lease_.context;
    lease_ = std::move(*result);
    lease_.context = sent;
    has_lease_ = true;
    leases().settle(id, sent.generation);
    const Lease* active = ledger_.table.active(id);
    if (active != nullptr && active->address != lease_.address) {
        ledger_.end_active(id, "replaced by " + to_string(lease_.address),
                           Ledger::AtEndpoint::remove);
    }
    wish_.address = lease_.address;
    wish_.prefix = lease_.prefix;
    continue_at_endpoint();
}

// The endpoint was chosen before the address was known, or has failed: is it still the right one?
void CreateExchange::continue_at_endpoint() {
    if (is_withdrawn_ || is_lost()) {
        refuse(Status::too_busy, "The lease has ended, try again");
        return;
    }
    const EndpointInfo* endpoint =
        wish_.failed.size() < endpoints_tried_max ? ledger_.choose_endpoint(wish_) : nullptr;
    if (endpoint == nullptr) {
        refuse(Status::too_busy, no_endpoint);
    } else if (endpoint->name == endpoint_.name) {
        install();
    } else {
        rehome(*endpoint);
    }
}

void CreateExchange::rehome(const EndpointInfo& endpoint) {
    choose(endpoint);
    step_ = Step::rehoming;
    leases().renew(lease_, then(&CreateExchange::on_rehomed));
}

void CreateExchange::on_rehomed(Result<Lease> result) {
    if (result) {
        lease_.expires_at = result->expires_at;
        lease_.valid_lifetime_s = result->valid_lifetime_s;
        continue_at_endpoint();
        return;
    }
    const ErrorCode code = result.error().code;
    if (code == ErrorCode::not_found || code == ErrorCode::conflict) {
        // Gone, or somebody else's: nothing of it is ours to give back.
        lost_up_to_ = lease_.context.generation;
        leases().doubt();
    }
    if (code == ErrorCode::not_found) {
        ledger_.end_active(terms_.client_id, "lease gone", Ledger::AtEndpoint::remove,
                           lease_.context.generation);
    }
    refusal_ = answer_to(result.error());
    go_back();
}

void CreateExchange::install() {
    const auto spec = ledger_.spec_of(lease_);
    DSTM_ASSERT(spec.has_value());  // it was chosen in this very turn
    step_ = Step::installing;
    at_endpoint_ = true;
    ledger_.endpoints.install(endpoint_.name, *spec, then(&CreateExchange::on_installed));
}

void CreateExchange::on_installed(Result<void> result) {
    if (result && !is_withdrawn_ && !is_lost()) {
        offer();
        return;
    }
    if (result) {
        refuse(Status::too_busy, "The lease has ended, try again");
        return;
    }
    wish_.failed.insert(endpoint_.name);
    step_ = Step::rehoming;
    if (previous_is_at(endpoint_.name)) {
        // It may carry the old or the new outer address now. Acceptance elsewhere removes both,
        // going back puts the old one in.
        at_endpoint_ = false;
        continue_at_endpoint();
    } else {
        remove_then(&CreateExchange::continue_at_endpoint);
    }
}

void CreateExchange::offer() {
    step_ = Step::offered;
    audit_offer();
    tsp::TunnelAnswered success;
    success.status = Status::success;
    success.message = describe_tunnel(ledger_.config(), lease_, endpoint_, terms_.keepalive_wish_s,
                                      ledger_.wall());
    // Last, because the session may end while it is told.
    std::exchange(answer_, nullptr)(std::move(success));
}

void CreateExchange::accept() {
    if (step_ != Step::offered) return;
    std::optional<Lease> old;
    if (const Lease* active = previous()) old = *active;
    ledger_.delegations.started(previous(), lease_);
    ledger_.table.set_active(lease_);
    step_ = Step::over;
    if (old && old->context.endpoint != endpoint_.name) {
        // It may hold one of this exchange's generations, from an install that failed.
        old->context.generation = lease_.context.generation;
        ledger_.remove_at_endpoint(*old);
    }
    log_info("BROKER_BINDING_ACCEPTED", "user={} address={} outer={} endpoint={}",
             log::quoted(lease_.context.user), to_string(lease_.address),
             to_string(lease_.context.outer_client.address), log::quoted(endpoint_.name));
    finish();
}

// --- back ----------------------------------------------------------------------------------------

void CreateExchange::withdraw() {
    is_withdrawn_ = true;
    answer_ = nullptr;
    if (step_ == Step::offered) go_back();
}

void CreateExchange::on_lease_ended(const Lease& lease) {
    lost_up_to_ = std::max(lost_up_to_, lease.context.generation);
    if (step_ == Step::offered && is_lost()) go_back();
}

void CreateExchange::refuse(Status status, std::string text) {
    refusal_ = {status, {}, std::move(text), {}};
    go_back();
}

void CreateExchange::go_back() {
    step_ = Step::going_back;
    // What replaced the previous tunnel in one step is replaced by it in one step.
    if (previous_is_at(endpoint_.name)) at_endpoint_ = false;
    remove_then(&CreateExchange::return_lease);
}

void CreateExchange::remove_then(void (CreateExchange::*next)()) {
    if (!at_endpoint_) {
        (this->*next)();
        return;
    }
    at_endpoint_ = false;
    // A failure means that the endpoint is away or will be synced: the way back goes on.
    ledger_.endpoints.remove(endpoint_.name, lease_.address, lease_.context.generation,
                             [weak = weak_from_this(), next](const Result<void>&) {
                                 if (const auto self = weak.lock()) ((*self).*next)();
                             });
}

void CreateExchange::return_lease() {
    audit_return();
    if (previous() != nullptr) {
        ledger_.restore(terms_.client_id, then(&CreateExchange::finish));
    } else if (has_lease_ && !is_lost()) {
        leases().give_back(lease_, then(&CreateExchange::finish));
    } else {
        finish();
    }
}

void CreateExchange::finish() {
    step_ = Step::over;
    ledger_.table.unreserve(terms_.client_id);
    const Answer answer = std::exchange(answer_, nullptr);
    ledger_.retire(terms_.client_id);
    if (answer) answer(refusal_);
}

// --- helpers -------------------------------------------------------------------------------------

const Lease* CreateExchange::offered() const {
    return step_ == Step::installing || step_ == Step::offered ? &lease_ : nullptr;
}

const Lease* CreateExchange::previous() const {
    const Lease* active = ledger_.table.active(terms_.client_id);
    const bool is_ours = active != nullptr && (!has_lease_ || active->address == lease_.address);
    return is_ours ? active : nullptr;
}

bool CreateExchange::previous_is_at(const std::string& endpoint) const {
    const Lease* active = previous();
    return active != nullptr && active->context.endpoint == endpoint;
}

tsp::TunnelAnswered CreateExchange::answer_to(const Error& error) const {
    switch (error.code) {
        case ErrorCode::exhausted: return {Status::no_more_tunnels, {}, "No address is free", {}};
        case ErrorCode::not_found:
            if (!has_lease_) return {Status::prefix_length_unavailable, {}, {}, {}};
            [[fallthrough]];
        case ErrorCode::refused:
        case ErrorCode::invalid:
            return {Status::server_error, {}, "The lease server refused the request", {}};
        case ErrorCode::unavailable:
        case ErrorCode::timed_out:
        case ErrorCode::conflict:
        case ErrorCode::closed:
        case ErrorCode::internal: break;
    }
    return {Status::too_busy, {}, "The lease server does not answer, try again later", {}};
}

void CreateExchange::audit_offer() {
    was_audited_ = true;
    const Lease* before = previous();
    if (before == nullptr) {
        ledger_.audit(AuditRecord::Event::started, lease_, "");
        return;
    }
    const bool moved = before->context.outer_client != lease_.context.outer_client;
    const bool rehomed = before->context.endpoint != lease_.context.endpoint;
    const bool resized = before->prefix != lease_.prefix;
    const char* reason = moved     ? "moved"
                         : rehomed ? "endpoint changed"
                         : resized ? "prefix changed"
                                   : "renewed";
    ledger_.audit(AuditRecord::Event::changed, lease_, reason);
}

void CreateExchange::audit_return() {
    if (!was_audited_) return;
    if (previous() != nullptr) {
        ledger_.owe_audit_of_restore(terms_.client_id);
    } else {
        ledger_.audit(AuditRecord::Event::ended, lease_,
                      is_lost() ? "lease ended before accept" : "not accepted");
    }
}

}  // namespace dstm::server
