// See the header.
#include "kea-hook/commands.hpp"

#include <algorithm>
#include <limits>

#include <util/multi_threading_mgr.h>

#include "common/base/ip_address.hpp"
#include "kea-hook/arguments.hpp"
#include "kea-hook/json_line.hpp"
#include "kea-hook/log.hpp"

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;
using isc::data::ElementPtr;
using isc::dhcp::Lease4Ptr;

constexpr std::int64_t list_limit_max = 1000;
constexpr std::size_t batch_max = 1000;
// Leases that one list command looks at, ours or not.
constexpr std::size_t list_scan_max = 10000;
// An answer must fit into a line of the stream socket; this leaves room for what is around it.
constexpr std::size_t answer_size_max = 900 * 1024;
constexpr std::int64_t uint32_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t generation_max = std::numeric_limits<std::int64_t>::max();

std::size_t size_as_json(const ConstElementPtr& value) {
    std::string text;
    append_json(text, value);
    return text.size();
}

Reply success(std::string text, ElementPtr arguments) {
    return Reply{0, std::move(text), std::move(arguments)};
}

bool may_be_in_batch(const std::string& name) {
    return name == "dstm4-lease-allocate" || name == "dstm4-lease-renew" ||
           name == "dstm4-lease-release";
}

}  // namespace

Commands::Commands(LeaseStore& store, Policy& policy, Serving& serving, EndingQueue& endings,
                   AddStatus add_status)
    : store_(store),
      policy_(policy),
      serving_(serving),
      endings_(endings),
      add_status_(std::move(add_status)) {}

Reply Commands::run(const std::string& name, const ConstElementPtr& arguments, ConnectionId cause) {
    try {
        const isc::util::MultiThreadingCriticalSection no_packet_threads;
        store_.learn_ours_once();
        return dispatch(name, arguments, cause);
    } catch (const std::exception& error) {
        LOG_ERROR(hook_logger, DSTM_COMMAND_FAILED).arg(name).arg(error.what());
        return to_reply({Reason::internal, error.what()});
    }
}

Reply Commands::dispatch(const std::string& name, const ConstElementPtr& arguments,
                         ConnectionId cause) {
    if (name == "dstm4-lease-list") return list(arguments);
    if (name == "dstm4-status") return status(arguments);
    if (name == "dstm4-lease-batch") return batch(arguments, cause);
    if (!may_be_in_batch(name)) {
        return to_reply({Reason::bad_request, "no such command: " + name});
    }
    if (const auto why = serving_.refusal()) return to_reply({Reason::not_serving, *why});
    if (name == "dstm4-lease-allocate") return allocate(arguments, cause);
    if (name == "dstm4-lease-renew") return renew(arguments);
    return release(arguments, cause);
}

Reply Commands::allocate(const ConstElementPtr& arguments, ConnectionId cause) {
    Arguments reader(arguments);
    LeaseRequest request;
    request.client_id = reader.client_id();
    const auto subnet_id = reader.number("subnet-id", 0, uint32_max);
    request.subnet_id = static_cast<std::uint32_t>(subnet_id.value_or(0));
    request.address = reader.address("requested-address");
    const auto lifetime = reader.number("valid-lifetime", 0, uint32_max);
    request.valid_lifetime_s = static_cast<std::uint32_t>(lifetime.value_or(0));
    request.hostname = reader.hostname();
    request.user_context = reader.user_context();
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);
    request.classes = serving_.classes();

    const auto grant = policy_.allocate(request);
    if (!grant) {
        if (grant.error().reason == Reason::pool_exhausted) {
            LOG_WARN(hook_logger, DSTM_POOL_EXHAUSTED)
                .arg(isc::dhcp::ClientId(request.client_id).toText())
                .arg(request.subnet_id);
        }
        return to_reply(grant.error());
    }
    if (const auto& gone = grant->replaced) {
        const bool was_live = is_live(*gone);
        endings_.push({was_live ? EndingKind::deleted : EndingKind::expired, gone,
                       was_live ? cause : no_connection});
    }
    ElementPtr lease = lease_to_element(*grant->lease);
    if (grant->reused) lease->set("reused", Element::create(true));
    return success("lease " + grant->lease->addr_.toText(), lease);
}

Reply Commands::renew(const ConstElementPtr& arguments) {
    Arguments reader(arguments);
    LeaseRequest request;
    const std::uint32_t address = reader.required_address("ip-address");
    request.client_id = reader.client_id();
    const auto lifetime = reader.number("valid-lifetime", 0, uint32_max);
    request.valid_lifetime_s = static_cast<std::uint32_t>(lifetime.value_or(0));
    request.user_context = reader.user_context();
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);
    request.classes = serving_.classes();

    // Without a generation of its own, a renewal does not compete with anybody's.
    const std::int64_t generation = generation_of(request.user_context);
    const auto lease =
        owned_lease(address, request.client_id, generation == 0 ? generation_max : generation);
    if (!lease) return to_reply(lease.error());
    const auto grant = policy_.renew(*lease, request);
    if (!grant) return to_reply(grant.error());
    return success("renewed " + grant->lease->addr_.toText(), lease_to_element(*grant->lease));
}

Reply Commands::release(const ConstElementPtr& arguments, ConnectionId cause) {
    Arguments reader(arguments);
    const std::uint32_t address = reader.required_address("ip-address");
    const Bytes client_id = reader.client_id();
    const auto up_to = reader.number("up-to-generation", 0, generation_max);
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);

    const auto lease = owned_lease(address, client_id, up_to.value_or(generation_max));
    if (!lease) return to_reply(lease.error());
    if (!policy_.release(*lease)) return to_reply({Reason::not_found, "no such lease"});
    endings_.push({EndingKind::released, *lease, cause});
    return success("released " + (*lease)->addr_.toText(), Element::createMap());
}

tl::expected<Lease4Ptr, Refusal> Commands::owned_lease(std::uint32_t address,
                                                       const Bytes& client_id,
                                                       std::int64_t generation) const {
    const auto lease = store_.find(address);
    if (!lease || !is_live(*lease)) {
        return tl::unexpected(Refusal{Reason::not_found, "no such lease"});
    }
    if (!has_client_id(*lease, client_id)) {
        return tl::unexpected(Refusal{Reason::not_owner, "the lease is another client's"});
    }
    if (generation_of(lease->getContext()) > generation) {
        return tl::unexpected(Refusal{Reason::stale, "the lease carries a higher generation"});
    }
    return lease;
}

Reply Commands::list(const ConstElementPtr& arguments) {
    constexpr std::size_t page_size = 500;
    Arguments reader(arguments);
    std::uint32_t position = reader.address("from").value_or(0);
    const auto limit = static_cast<std::size_t>(
        reader.number("limit", 1, list_limit_max).value_or(list_limit_max));
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);

    ElementPtr leases = Element::createList();
    std::uint32_t last_listed = position;
    std::size_t size = 0;
    bool end = false;
    bool more = false;  // one that did not fit was seen
    for (std::size_t scanned = 0; !end && !more && scanned < list_scan_max;) {
        const auto page = store_.after(position, page_size);
        end = page.size() < page_size;
        scanned += page.size();
        for (const auto& lease : page) {
            position = lease->addr_.toUint32();
            if (!is_ours(*lease) || !is_live(*lease)) continue;
            more = leases->size() == limit || size > answer_size_max;
            if (more) break;
            store_.note(lease);  // may have come from an HA partner, unnoticed
            leases->add(lease_to_element(*lease));
            size += size_as_json(leases->get(static_cast<int>(leases->size()) - 1));
            last_listed = position;
        }
    }
    const std::size_t count = leases->size();
    if (count == 0 && end) return to_reply({Reason::not_found, "no leases"});
    ElementPtr answer = Element::createMap();
    answer->set("leases", leases);
    answer->set("count", Element::create(static_cast<long long>(count)));
    if (more || !end) {
        const Ipv4Address next(more ? last_listed : position);
        answer->set("next", Element::create(next.to_string()));
    }
    return success(std::to_string(count) + " leases", answer);
}

Reply Commands::batch(const ConstElementPtr& arguments, ConnectionId cause) {
    auto batch = start_batch(arguments, cause);
    if (!batch) return to_reply(batch.error());
    while (!batch->done()) batch->step();
    return batch->reply();
}

Reply Commands::status(const ConstElementPtr& arguments) {
    Arguments reader(arguments);
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);
    ElementPtr map = Element::createMap();
    map->set("family", Element::create(4));
    map->set("leases", Element::create(static_cast<long long>(store_.ours().size())));
    map->set("serving", Element::create(!serving_.refusal().has_value()));
    add_status_(map);
    return success("DSTM hook", map);
}

tl::expected<Commands::Batch, Refusal> Commands::start_batch(const ConstElementPtr& arguments,
                                                             ConnectionId cause) {
    Arguments reader(arguments);
    const auto list = reader.required_list("commands");
    if (const auto mistake = reader.mistake()) return tl::unexpected(*mistake);
    if (list->size() > batch_max) {
        return tl::unexpected(
            Refusal{Reason::bad_request,
                    "argument 'commands' has more than " + std::to_string(batch_max) + " entries"});
    }
    Batch batch;
    batch.commands_ = this;
    batch.cause_ = cause;
    batch.items_ = list->listValue();
    batch.responses_ = Element::createList();
    return batch;
}

void Commands::Batch::step() {
    const auto& item = items_[next_++];
    const auto name = item->getType() == Element::map ? item->get("command") : nullptr;
    Reply reply;
    if (size_ > answer_size_max) {
        reply = to_reply({Reason::bad_request, "argument 'commands': the answer is too long"});
    } else if (!name || name->getType() != Element::string ||
               !may_be_in_batch(name->stringValue())) {
        reply = to_reply({Reason::bad_request,
                          "argument 'commands': an entry's 'command' must be dstm4-lease-allocate, "
                          "-renew or -release"});
    } else {
        reply = commands_->run(name->stringValue(), item->get("arguments"), cause_);
    }
    const ElementPtr response = to_element(reply);
    size_ += size_as_json(response);
    responses_->add(response);
}

Reply Commands::Batch::reply() const {
    ElementPtr answer = Element::createMap();
    answer->set("responses", responses_);
    return success(std::to_string(items_.size()) + " commands", answer);
}

}  // namespace dstm::kea
