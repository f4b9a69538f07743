// Reads all records of a model from a server, in the order of their changes.
import { Nango } from '@nangohq/node';

const nango = new Nango({ host: process.env.PERDURE_URL, secretKey: process.env.PERDURE_KEY });

let cursor = null;
do {
    const page = await nango.listRecords({
        providerConfigKey: 'github',
        connectionId: 'acme',
        model: 'Issue',
        limit: 1000,
        ...(cursor && { cursor })
    });
    for (const issue of page.records) {
        console.log(issue._nango_metadata.last_action, issue.id, issue.title);
    }
    cursor = page.next_cursor;
} while (cursor);
