#include "tests/unit/tsp/script.hpp"

#include <gtest/gtest.h>

#include "common/tsp/reply.hpp"
#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp::script {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string printable(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (const char raw : bytes) {
        const auto byte = static_cast<unsigned char>(raw);
        if (byte == '\r')
            out += "\\r";
        else if (byte == '\n')
            out += "\\n";
        else if (byte == 0)
            out += "\\0";
        else if (byte >= 0x20 && byte < 0x7f)
            out += raw;
        else
            out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    return out;
}

std::string shown_request(const TunnelMessage& message) {
    std::string out(to_string(message.action));
    if (message.type) out += " " + std::string(to_string(*message.type));
    if (!message.client) return out;
    for (const auto& address : message.client->addresses) out += " " + address.text;
    if (message.client->keepalive) {
        out += " keepalive=" + std::to_string(message.client->keepalive->interval_s);
    }
    return out;
}

std::string shown_brokers(const std::vector<Broker>& brokers) {
    std::string out;
    for (const auto& broker : brokers) {
        for (const auto& address : broker.addresses) out += " " + address.text;
    }
    return out;
}

}  // namespace

Lines shown(const ServerActions& actions) {
    Lines lines;
    for (const auto& action : actions) {
        lines.push_back(std::visit(
            Overloaded{
                [](const Send& send) { return "Send " + printable(send.bytes); },
                [](const Close&) { return std::string("Close"); },
                [](const StartAuthentication& start) {
                    return "StartAuthentication " + start.mechanism +
                           (start.initial_response ? " [" + printable(*start.initial_response) + "]"
                                                   : "");
                },
                [](const ContinueAuthentication& step) {
                    return "ContinueAuthentication [" + printable(step.response) + "]";
                },
                [](const RequestTunnel& request) {
                    return "RequestTunnel " + shown_request(request.message);
                },
                [](const ConfirmTunnel&) { return std::string("ConfirmTunnel"); },
                [](const DeclineTunnel&) { return std::string("DeclineTunnel"); },
                [](const ReportViolation& report) { return "ReportViolation " + report.what; },
            },
            action));
    }
    return lines;
}

Lines shown(const client::Actions& actions) {
    Lines lines;
    for (const auto& action : actions) {
        lines.push_back(std::visit(
            Overloaded{
                [](const client::Send& send) { return "Send " + printable(send.bytes); },
                [](const client::Close&) { return std::string("Close"); },
                [](const client::ChooseMechanism& choose) {
                    std::string out = "ChooseMechanism";
                    for (const auto& mechanism : choose.mechanisms) out += " " + mechanism;
                    for (const auto type : choose.tunnel_types) {
                        out += " " + std::string(to_string(type));
                    }
                    return out;
                },
                [](const client::ContinueAuthentication& step) {
                    return "ContinueAuthentication [" + printable(step.challenge) + "]" +
                           (step.is_final ? " final" : "");
                },
                [](const client::Authenticated&) { return std::string("Authenticated"); },
                [](const client::CommandAnswered& answer) {
                    return "CommandAnswered " + std::to_string(answer.status) + " " + answer.text +
                           (answer.message ? " " + shown_request(*answer.message) : "") +
                           shown_brokers(answer.brokers);
                },
                [](const client::Failed& failed) {
                    constexpr const char* causes[] = {"refused", "malformed", "timed_out",
                                                      "closed"};
                    return std::string("Failed ") + causes[static_cast<int>(failed.cause)] + " " +
                           std::to_string(failed.status) + " " + failed.text +
                           shown_brokers(failed.brokers);
                },
            },
            action));
    }
    return lines;
}

std::string framed(std::string_view body) {
    return "Content-length: " + std::to_string(body.size()) + "\r\n" + std::string(body);
}

std::string send_framed(std::string_view body) { return "Send " + printable(framed(body)); }

std::string create_v4v6() {
    return framed(
        "<tunnel action=\"create\" type=\"v4v6\" proxy=\"no\">\n <client>\n"
        "  <address type=\"ipv6\">2001:db8:1::5</address>\n  <keepalive interval=\"30\">\n"
        "    <address type=\"ipv4\">127.0.0.1</address>\n  </keepalive>\n </client>\n</tunnel>\n");
}

std::string command(std::string_view attributes) {
    return framed("<tunnel " + std::string(attributes) + "></tunnel>\r\n");
}

std::string accept() { return command("action=\"accept\""); }
std::string reject() { return command("action=\"reject\""); }

TunnelAnswered tunnel_granted() {
    TunnelMessage message;
    message.action = Action::info;
    message.type = RequestType::v4v6;
    message.lifetime_min = 1440;
    message.server = Party{
        {{AddressType::ipv4, "192.0.2.2", 30}, {AddressType::ipv6, "2001:db8::2", {}}}, {}, {}, {}};
    message.client = Party{
        {{AddressType::ipv4, "192.0.2.1", 30}, {AddressType::ipv6, "2001:db8::1", {}}}, {}, {}, {}};
    return {Status::success, message, {}, {}};
}

std::string tunnel_granted_reply() {
    return send_framed("200 Success\r\n" + write_tunnel_xml(*tunnel_granted().message));
}

TunnelAnswered tunnel_refused(Status status) { return {status, {}, {}, {}}; }

AuthenticationStepDone challenge(std::string data) {
    return {AuthenticationStepDone::Outcome::challenge, std::move(data)};
}

AuthenticationStepDone success(std::string data) {
    return {AuthenticationStepDone::Outcome::success, std::move(data)};
}

ServerSessionConfig all_mechanisms() {
    ServerSessionConfig config;
    config.tunnel_types = {RequestType::v4v6, RequestType::v6v4, RequestType::v6udpv4};
    config.mechanisms = {"ANONYMOUS", "PLAIN", "DIGEST-MD5", "SCRAM-SHA-256"};
    return config;
}

std::string client_bytes(const Dialogue& dialogue) {
    std::string bytes;
    for (const auto& step : dialogue.steps) {
        if (const auto* part = std::get_if<std::string>(&step.event)) bytes += *part;
    }
    return bytes;
}

ServerActions feed(ServerSession& session, const Step::Event& event, Instant now) {
    return std::visit(Overloaded{[&](const std::string& bytes) {
                                     return session.handle(BytesReceived{bytes}, now);
                                 },
                                 [&](const auto& other) { return session.handle(other, now); }},
                      event);
}

void ObligingOwner::carry_out(const ServerActions& actions) {
    for (const auto& action : actions) {
        ASSERT_FALSE(is_closed_) << "an action after Close";
        if (const auto* send = std::get_if<Send>(&action)) check_send(send->bytes);
        if (std::holds_alternative<Close>(action)) {
            is_closed_ = true;
            EXPECT_EQ(offers_, 0) << "an offer is left over";
        }
        if (std::holds_alternative<ReportViolation>(action)) {
            EXPECT_EQ(++violations_, 1);
        }
        if (std::holds_alternative<ConfirmTunnel>(action)) {
            EXPECT_EQ(--offers_, 0);
            ++confirmed_;
        }
        if (std::holds_alternative<DeclineTunnel>(action)) {
            EXPECT_EQ(--offers_, 0);
        }
    }
    EXPECT_EQ(session_.is_closed(), is_closed_);
    for (const auto& action : actions) {
        if (std::holds_alternative<StartAuthentication>(action) ||
            std::holds_alternative<ContinueAuthentication>(action)) {
            const auto* const start = std::get_if<StartAuthentication>(&action);
            const bool more = start != nullptr && start->mechanism == "DIGEST-MD5";
            auto next = session_.handle(more ? challenge("nonce") : success(), at(0));
            is_command_phase_ = !more;
            if (!more) {  // the status itself is the last bare line
                const auto* status = std::get_if<Send>(&next.front());
                ASSERT_NE(status, nullptr);
                EXPECT_EQ(status->bytes, "200 Success\r\n");
                next.erase(next.begin());
            }
            carry_out(next);
        }
        if (const auto* request = std::get_if<RequestTunnel>(&action); request && !is_closed_) {
            offers_ += request->message.action == Action::create;
            carry_out(session_.handle(tunnel_granted(), at(0)));
        }
    }
}

void ObligingOwner::check_send(const std::string& bytes) const {
    EXPECT_TRUE(bytes.ends_with("\r\n")) << bytes;
    if (!is_command_phase_) {
        EXPECT_FALSE(bytes.starts_with("Content-length")) << bytes;
        return;
    }
    ASSERT_TRUE(bytes.starts_with("Content-length: ")) << bytes;
    const auto line_end = bytes.find("\r\n");
    EXPECT_EQ(bytes.substr(16, line_end - 16), std::to_string(bytes.size() - line_end - 2));
    const auto body = std::string_view(bytes).substr(line_end + 2);
    EXPECT_TRUE(parse_status_line(body.substr(0, body.find("\r\n")))) << bytes;
}

}  // namespace dstm::tsp::script
