// Reads tunnel messages with Xerces-C++. The only file that includes it; its exceptions and its
// character type stop here. What the elements mean is in tunnel_tree.cpp.
//
// Against DTDs and entities: markup declarations are refused before the parser sees them, and the
// encoding is fixed so that this check reads what the parser reads. Should one pass all the same it
// could do nothing: the scanner is the one that skips DTDs, so that no entity is ever declared.
#include <algorithm>
#include <memory>

#include <xercesc/framework/MemBufInputSource.hpp>
#include <xercesc/sax/SAXParseException.hpp>
#include <xercesc/sax2/Attributes.hpp>
#include <xercesc/sax2/DefaultHandler.hpp>
#include <xercesc/sax2/SAX2XMLReader.hpp>
#include <xercesc/sax2/XMLReaderFactory.hpp>
#include <xercesc/util/OutOfMemoryException.hpp>
#include <xercesc/util/PlatformUtils.hpp>
#include <xercesc/util/TransService.hpp>
#include <xercesc/util/XMLUni.hpp>

#include "common/tsp/tunnel_tree.hpp"
#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp {
namespace {

namespace xml = xercesc;

constexpr std::string_view white_space = " \t\r\n";

// Thrown through the parser when the tree refuses an element.
struct Refused {
    Error error;
};

// Once per process and never undone: threads may be inside the library when the process ends.
void initialise_library() {
    static const bool done = [] {
        xml::XMLPlatformUtils::Initialize();
        return true;
    }();
    static_cast<void>(done);
}

std::string to_utf8(const XMLCh* text, XMLSize_t size) {
    const xml::TranscodeToStr transcoded(text, size, "UTF-8");
    return {reinterpret_cast<const char*>(transcoded.str()), transcoded.length()};
}

std::string to_utf8(const XMLCh* text) { return to_utf8(text, xml::XMLString::stringLen(text)); }

class Handler final : public xml::DefaultHandler {
public:
    void startElement(const XMLCh*, const XMLCh*, const XMLCh* name,
                      const xml::Attributes& attributes) override {
        TunnelTree::Attributes converted;
        const auto count = std::min<XMLSize_t>(attributes.getLength(), xml_attributes_max + 1);
        for (XMLSize_t i = 0; i < count; ++i) {
            converted.emplace_back(to_utf8(attributes.getQName(i)),
                                   to_utf8(attributes.getValue(i)));
        }
        if (auto started = tree.start(to_utf8(name), converted); !started) {
            throw Refused{started.error()};
        }
    }
    void endElement(const XMLCh*, const XMLCh*, const XMLCh*) override { tree.end(); }
    void characters(const XMLCh* text, XMLSize_t size) override { tree.text(to_utf8(text, size)); }

    xml::InputSource* resolveEntity(const XMLCh*, const XMLCh*) override {
        throw Refused{{ErrorCode::invalid, "XML has an external entity"}};
    }
    void error(const xml::SAXParseException& exception) override { throw exception; }
    void fatalError(const xml::SAXParseException& exception) override { throw exception; }

    TunnelTree tree;
};

// Allowed behind "<!": comments and character data. All else declares something.
bool has_declaration(std::string_view text) {
    for (auto at = text.find("<!"); at != std::string_view::npos; at = text.find("<!", at + 2)) {
        const auto rest = text.substr(at + 2);
        if (!rest.starts_with("--") && !rest.starts_with("[CDATA[")) return true;
    }
    return false;
}

std::unique_ptr<xml::SAX2XMLReader> make_reader(Handler& handler) {
    std::unique_ptr<xml::SAX2XMLReader> reader(xml::XMLReaderFactory::createXMLReader());
    reader->setProperty(xml::XMLUni::fgXercesScannerName,
                        const_cast<XMLCh*>(xml::XMLUni::fgWFXMLScanner));
    reader->setFeature(xml::XMLUni::fgSAX2CoreNameSpaces, false);
    reader->setFeature(xml::XMLUni::fgSAX2CoreValidation, false);
    reader->setFeature(xml::XMLUni::fgXercesSchema, false);
    reader->setFeature(xml::XMLUni::fgXercesLoadExternalDTD, false);
    reader->setFeature(xml::XMLUni::fgXercesDisableDefaultEntityResolution, true);
    reader->setContentHandler(&handler);
    reader->setErrorHandler(&handler);
    reader->setEntityResolver(&handler);
    return reader;
}

std::string position(const xml::SAXParseException& exception) {
    return std::to_string(exception.getLineNumber()) + ":" +
           std::to_string(exception.getColumnNumber());
}

}  // namespace

Result<TunnelMessage> parse_tunnel_xml(std::string_view text) {
    if (text.size() > xml_size_max) return fail(ErrorCode::invalid, "XML is too large");
    const auto first = text.find_first_not_of(white_space);
    if (first == std::string_view::npos) return fail(ErrorCode::invalid, "XML is empty");
    text = text.substr(first, text.find_last_not_of(white_space) - first + 1);
    // A NUL ends input for some layers and not for others.
    if (text.find('\0') != std::string_view::npos) return fail(ErrorCode::invalid, "XML has a NUL");
    if (has_declaration(text)) return fail(ErrorCode::invalid, "XML has a DTD");

    try {
        initialise_library();
        Handler handler;
        const auto reader = make_reader(handler);
        xml::MemBufInputSource source(reinterpret_cast<const XMLByte*>(text.data()), text.size(),
                                      "tunnel", false);
        source.setEncoding(xml::XMLUni::fgUTF8EncodingString);
        source.setCopyBufToStream(false);
        reader->parse(source);
        return handler.tree.take();
    } catch (const Refused& refused) {
        return tl::unexpected(refused.error);
    } catch (const xml::SAXParseException& exception) {
        return fail(ErrorCode::invalid, "XML is not well-formed at " + position(exception));
    } catch (const xml::SAXException&) {
        return fail(ErrorCode::invalid, "XML cannot be read");
    } catch (const xml::XMLException&) {
        return fail(ErrorCode::invalid, "XML cannot be read");
    } catch (const xml::OutOfMemoryException&) {
        return fail(ErrorCode::internal, "XML parser is out of memory");
    }
}

}  // namespace dstm::tsp
