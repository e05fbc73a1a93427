// See the header.
#include "kea-hook/commands.hpp"

#include <limits>

#include "kea-hook/arguments.hpp"
#include "kea-hook/batch_task.hpp"
#include "kea-hook/list_task.hpp"
#include "kea-hook/log.hpp"

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;
using isc::data::ElementPtr;

constexpr std::int64_t uint32_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t prefix_length_min = 48;
constexpr std::int64_t prefix_length_max = 64;
constexpr std::int64_t generation_max = std::numeric_limits<std::int64_t>::max();

Reply success(std::string text, ElementPtr arguments) {
    return Reply{0, std::move(text), std::move(arguments)};
}

bool is_change(const std::string& verb) {
    return verb == "lease-allocate" || verb == "lease-renew" || verb == "lease-release";
}

}  // namespace

const char* command_prefix(int family) { return family == AF_INET ? "dstm4-" : "dstm6-"; }

Commands::Commands(LeaseStore& store, Policy& policy, Serving& serving, AddStatus add_status)
    : store_(store), policy_(policy), serving_(serving), add_status_(std::move(add_status)) {}

std::string Commands::verb_of(const std::string& name) const {
    const std::string_view prefix = command_prefix(store_.family());
    return name.starts_with(prefix) ? name.substr(prefix.size()) : std::string();
}

// Everything but lists and batches.
class Commands::OneStep : public Task {
public:
    OneStep(const std::string& name, std::function<Reply()> body)
        : Task(name), body_(std::move(body)) {}

private:
    std::optional<Reply> advance() override { return body_(); }

    std::function<Reply()> body_;
};

std::unique_ptr<Task> Commands::start(const std::string& name, const ConstElementPtr& arguments,
                                      ConnectionId cause) {
    const auto refuse = [&name](const Refusal& refusal) {
        return std::make_unique<OneStep>(name, [refusal] { return to_reply(refusal); });
    };
    const std::string verb = verb_of(name);
    if (verb == "lease-list") {
        Arguments reader(arguments, store_.family());
        auto task = std::make_unique<ListTask>(store_, reader);
        if (const auto mistake = reader.mistake()) return refuse(*mistake);
        return task;
    }
    if (verb == "lease-batch") {
        Arguments reader(arguments, store_.family());
        const auto commands = reader.required_list("commands", BatchTask::commands_max);
        if (const auto mistake = reader.mistake()) return refuse(*mistake);
        return std::make_unique<BatchTask>(
            commands, [this, cause](const std::string& item, const ConstElementPtr& given) {
                if (!is_change(verb_of(item))) {
                    return to_reply({Reason::bad_request,
                                     "argument 'commands': " + item + " cannot be in a batch"});
                }
                return run(item, given, cause);
            });
    }
    if (verb == "status") {
        return std::make_unique<OneStep>(name, [this, arguments] { return status(arguments); });
    }
    if (!is_change(verb)) return refuse({Reason::bad_request, "no such command: " + name});
    return std::make_unique<OneStep>(
        name, [this, verb, arguments, cause] { return change(verb, arguments, cause); });
}

Reply Commands::run(const std::string& name, const ConstElementPtr& arguments, ConnectionId cause) {
    const auto task = start(name, arguments, cause);
    std::optional<Reply> reply;
    while (!reply) reply = task->step();
    return *std::move(reply);
}

Reply Commands::change(const std::string& verb, const ConstElementPtr& arguments,
                       ConnectionId cause) {
    store_.learn_ours_once();
    if (const auto why = serving_.refusal()) return to_reply({Reason::not_serving, *why});
    if (verb == "lease-allocate") return allocate(arguments, cause);
    if (verb == "lease-renew") return renew(arguments, cause);
    return release(arguments, cause);
}

Reply Commands::allocate(const ConstElementPtr& arguments, ConnectionId cause) {
    Arguments reader(arguments, store_.family());
    LeaseRequest request;
    request.client_id = reader.client_id();
    const auto subnet_id = reader.number("subnet-id", 0, uint32_max);
    request.subnet_id = static_cast<std::uint32_t>(subnet_id.value_or(0));
    request.address = reader.address("requested-address");
    if (store_.family() == AF_INET6) {
        const auto length = reader.number("prefix-length", prefix_length_min, prefix_length_max);
        if (length) request.prefix_length = static_cast<std::uint8_t>(*length);
        request.prefix = reader.prefix("prefix", request.prefix_length);
    }
    const auto lifetime = reader.number("valid-lifetime", 0, uint32_max);
    request.valid_lifetime_s = static_cast<std::uint32_t>(lifetime.value_or(0));
    request.hostname = reader.hostname();
    request.user_context = reader.user_context();
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);
    request.classes = serving_.classes();

    const auto grant = policy_.allocate(request, cause);
    if (!grant) {
        const std::string client = isc::dhcp::ClientId(request.client_id).toText();
        if (grant.error().reason == Reason::pool_exhausted) {
            LOG_WARN(hook_logger, DSTM_POOL_EXHAUSTED).arg(client).arg(request.subnet_id);
        } else if (grant.error().reason == Reason::prefix_unavailable) {
            LOG_WARN(hook_logger, DSTM_PREFIX_UNAVAILABLE)
                .arg(static_cast<int>(*request.prefix_length))
                .arg(client)
                .arg(request.subnet_id);
        }
        return to_reply(grant.error());
    }
    ElementPtr lease = lease_to_element(grant->lease);
    if (grant->reused) lease->set("reused", Element::create(true));
    return success("lease " + grant->lease.address->addr_.toText(), lease);
}

Reply Commands::renew(const ConstElementPtr& arguments, ConnectionId cause) {
    Arguments reader(arguments, store_.family());
    LeaseRequest request;
    const IOAddress address = reader.required_address("ip-address");
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
    const auto grant = policy_.renew(*lease, request, cause);
    if (!grant) return to_reply(grant.error());
    return success("renewed " + grant->lease.address->addr_.toText(),
                   lease_to_element(grant->lease));
}

Reply Commands::release(const ConstElementPtr& arguments, ConnectionId cause) {
    Arguments reader(arguments, store_.family());
    const IOAddress address = reader.required_address("ip-address");
    const Bytes client_id = reader.client_id();
    const auto up_to = reader.number("up-to-generation", 0, generation_max);
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);

    const auto lease = owned_lease(address, client_id, up_to.value_or(generation_max));
    if (!lease) return to_reply(lease.error());
    if (!policy_.release(*lease, cause)) return to_reply({Reason::not_found, "no such lease"});
    return success("released " + address.toText(), Element::createMap());
}

tl::expected<ClientLease, Refusal> Commands::owned_lease(const IOAddress& address,
                                                         const Bytes& client_id,
                                                         std::int64_t generation) const {
    const auto row = store_.database().find_address(address);
    if (!row || !is_live(*row)) {
        return tl::unexpected(Refusal{Reason::not_found, "no such lease"});
    }
    if (client_id_of(*row) != client_id) {
        return tl::unexpected(Refusal{Reason::not_owner, "the lease is another client's"});
    }
    if (generation_of(row->getContext()) > generation) {
        return tl::unexpected(Refusal{Reason::stale, "the lease carries a higher generation"});
    }
    return store_.with_prefix(row);
}

Reply Commands::status(const ConstElementPtr& arguments) {
    Arguments reader(arguments, store_.family());
    if (const auto mistake = reader.mistake()) return to_reply(*mistake);
    store_.learn_ours_once();
    ElementPtr map = Element::createMap();
    map->set("family", Element::create(store_.family() == AF_INET ? 4 : 6));
    map->set("leases", Element::create(static_cast<long long>(store_.ours().size())));
    map->set("serving", Element::create(!serving_.refusal().has_value()));
    add_status_(map);
    return success("DSTM hook", map);
}

}  // namespace dstm::kea
