// The table's counts against a slow recount, under random changes.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "dstm-server/broker/binding_table.hpp"
#include "dstm-server/broker/client_id.hpp"

namespace dstm::server {
namespace {

struct Entry {
    std::optional<Lease> active;
    std::optional<BindingContext> reserved;
};

BindingContext random_context(std::mt19937& random) {
    BindingContext context;
    context.user = "user" + std::to_string(random() % 3);
    context.outer_client.address =
        *parse_ip_address("2001:db8::" + std::to_string(1 + random() % 3));
    context.outer_client.port = static_cast<std::uint16_t>(random() % 2);
    context.endpoint = "tep" + std::to_string(random() % 2);
    return context;
}

// Who else has or is about to have a tunnel there.
void expect_others(const BindingTable& table, const std::map<ClientId, Entry>& model,
                   const IpEndpoint& outer) {
    for (const auto& [except, ignored] : model) {
        std::set<ClientId> others;
        for (const auto& [id, entry] : model) {
            const bool is_there =
                (entry.active && entry.active->context.outer_client == outer) ||
                (entry.reserved && entry.reserved->outer_client == outer);
            if (is_there && id != except) others.insert(id);
        }
        const auto other = table.other_at(outer, except);
        ASSERT_EQ(other.has_value(), !others.empty());
        ASSERT_TRUE(!other || others.contains(*other));
    }
}

void expect_counts(const BindingTable& table, const std::map<ClientId, Entry>& model) {
    for (int n = 0; n < 3; ++n) {
        const std::string user = "user" + std::to_string(n);
        const IpAddress source = *parse_ip_address("2001:db8::" + std::to_string(1 + n));
        const std::string endpoint = "tep" + std::to_string(n);
        expect_others(table, model, {source, 0});
        expect_others(table, model, {source, 1});
        for (const auto& [except, ignored] : model) {
            std::size_t of_user = 0, of_source = 0, of_endpoint = 0;
            for (const auto& [id, entry] : model) {
                if (!entry.active && !entry.reserved) continue;
                const BindingContext& counted =
                    entry.reserved ? *entry.reserved : entry.active->context;
                if (counted.endpoint == endpoint) ++of_endpoint;
                if (id == except) continue;
                if (counted.user == user) ++of_user;
                if (counted.outer_client.address == source) ++of_source;
            }
            ASSERT_EQ(table.count_of_user(user, except), of_user);
            ASSERT_EQ(table.count_of_source(source, except), of_source);
            ASSERT_EQ(table.count_of_endpoint(endpoint), of_endpoint);
        }
    }
}

TEST(BindingTable, CountsAreThoseOfARecountAfterAnyChange) {
    std::mt19937 random(20260101);
    BindingTable table;
    std::map<ClientId, Entry> model;
    for (int i = 0; i < 5; ++i) model[make_client_id(Family::v4, "user", std::to_string(i))];
    for (int step = 0; step < 2000; ++step) {
        auto& [id, entry] = *std::next(model.begin(), random() % model.size());
        const BindingContext context = random_context(random);
        switch (random() % 4) {
            case 0:
                entry.active.emplace();
                entry.active->address = Ipv4Address(1);
                entry.active->client_id = id;
                entry.active->context = context;
                table.set_active(*entry.active);
                break;
            case 1:
                entry.active.reset();
                table.clear_active(id);
                break;
            case 2:
                entry.reserved = context;
                table.reserve(id, context);
                break;
            default: entry.reserved.reset(); table.unreserve(id);
        }
        expect_counts(table, model);
        if (HasFatalFailure()) return;
    }
}

}  // namespace
}  // namespace dstm::server
