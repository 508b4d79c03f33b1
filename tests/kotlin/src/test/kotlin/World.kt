import java.nio.file.Path
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertNotNull
import rosterkit.generated.Engine
import rosterkit.generated.EngineOptions
import rosterkit.generated.Event
import rosterkit.generated.EventBatch
import rosterkit.generated.EventBody
import rosterkit.generated.LimitOptions
import rosterkit.generated.Message
import rosterkit.generated.MessageBody
import rosterkit.generated.Session
import rosterkit.generated.SessionListener

const val ALICE = "alice@example.org"
const val BOB = "bob@example.org"
const val CAROL = "carol@example.org"

/** How long a test waits for what another thread brings about. */
const val SECONDS = 10L

/** Opens an engine on a file in this folder; a new one has three accounts. */
fun openIn(folder: Path): Engine {
    val file = folder.resolve("im.db").toFile()
    val isNew = !file.exists()
    val engine = Engine.openFile(file.path, EngineOptions(domains = listOf("example.org")))
    if (isNew) listOf(ALICE, BOB, CAROL).forEach(engine::createAccount)
    return engine
}

/** An engine in virtual time, with three accounts. */
fun openVirtual(limits: LimitOptions? = null): Engine {
    val options = EngineOptions(domains = listOf("example.org"), limits = limits)
    return Engine.openVirtual(null, options, seed = 1, startMs = 0).also { listOf(ALICE, BOB, CAROL).forEach(it::createAccount) }
}

/** Keeps what it is called with, and does something with it before it returns. */
class Heard(private val then: (Event) -> Unit = {}) : SessionListener {
    private val events = LinkedBlockingQueue<Event>()

    override fun onEvents(batch: EventBatch) {
        events.addAll(batch.events)
        batch.events.forEach(then)
    }

    fun next(): Event = assertNotNull(events.poll(SECONDS, TimeUnit.SECONDS), "no event came")

    fun nextMessage(): Message = (next().body as EventBody.MessageReceived).message
}

/** Waits for one event. */
fun Session.next(): Event = nextEvents(max = 1, timeoutMs = SECONDS * 1000).single()

/** What is there already. */
fun Session.rest(): List<Event> = nextEvents(max = 100, timeoutMs = 0)

val Message.text get() = (body as MessageBody.Text).text

val List<Event>.texts get() = mapNotNull { (it.body as? EventBody.MessageReceived)?.message?.text }
